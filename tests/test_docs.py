"""The documents say what the program does."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
import yaml

from teinet import Recognizer, create_model
from teinet.cli.main import COMMANDS, main
from teinet.cli.parser import Command
from teinet.data.transforms import Preprocessing
from tests import miniatures
from tests.conftest import CLASSES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "tests" / "README.md"]


def test_the_recipe_reference_is_what_its_script_writes() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_recipe_reference.py"))
    assert page["PAGE"].read_text() == page["render"](), "run python docs/make_recipe_reference.py"


@pytest.mark.parametrize("page", PAGES + OTHERS, ids=lambda p: p.name)
def test_links_inside_the_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_site_lists_every_page() -> None:
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(p.relative_to(ROOT / "docs").as_posix() for p in PAGES[1:])


def test_the_api_pages_name_what_exists() -> None:
    pages = (ROOT / "docs" / "reference" / "api").glob("*.md")
    names = [n for page in pages for n in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    assert len(names) > 30 and all(resolve_name(n) for n in names)


def test_every_command_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert all(f"`teinet {name}" in text for name in COMMANDS)


# Small in place of large; what a test machine has in place of a camera; no half a minute of compilation.
SMALLER = {
    '"camera"': '"clip.mp4"',
    "resnet50": "resnet10t",
    "regnety_016": "regnety_002",
    "224": "64",
    'engine="compile", precision="bf16"': 'engine="folded", precision="fp32"',
}
RUN_ELSEWHERE = {"docs/how-to/python.md": "tests/training/test_api.py"}


def examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda p: p.name)
def test_the_examples_in_python_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (name := page.relative_to(ROOT).as_posix()) in RUN_ELSEWHERE:
        assert page.name in (ROOT / RUN_ELSEWHERE[name]).read_text()
        return
    torch.manual_seed(0)
    model = create_model("teinet_resnet10t", num_classes=3, num_frames=4, causal=True)
    pixels = Preprocessing(size=32, short_side=32, **model.data_config)
    recognizer = Recognizer(model, CLASSES, preprocessing=pixels, header={"frame_interval": 0.2})
    for run in ("first", "live"):
        recognizer.save(tmp_path / "runs" / run / "last.safetensors")
    miniatures.write(tmp_path / "clip.mp4", 0, 15)
    monkeypatch.chdir(tmp_path)
    scope: dict = {"recognizer": recognizer, "left": np.zeros((48, 64, 3), np.uint8)}
    scope["right"] = scope["left"]
    for example in examples(page):
        for large, small in SMALLER.items():
            example = example.replace(large, small)
        exec(compile(example, page.name, "exec"), scope)
    if page.name == "README.md":
        assert scope["logits"].shape == (2, 10) and len(scope["prediction"].labels) == 3


def test_commands_of_the_documents_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from teinet.cli.train import parse_recipe
    from teinet.training.recipe import Recipe

    pages = "\n".join(p.read_text() for p in PAGES).replace("\\\n", " ")
    lines = [line.split("#")[0].strip() for line in re.findall(r"^teinet train (.+)$", pages, re.MULTILINE)]
    assert len(lines) > 5
    (tmp_path / "here/runs/first").mkdir(parents=True)  # the run that the reader has made by then
    (tmp_path / "here/runs/first/recipe.yaml").write_text(yaml.safe_dump(asdict(Recipe())))
    monkeypatch.chdir(tmp_path / "here")
    for line in lines:
        if "RECIPE" in line or "..." in line:
            continue
        words = [str(ROOT / w) if w.startswith("recipes/") else w for w in shlex.split(line.replace("/data/", "data/"))]
        for word in words[: next((i for i, w in enumerate(words) if w.startswith("--")), None)]:
            if word.endswith("/") or word.startswith("data/"):  # the reader's folders and lists
                Path(word).mkdir(parents=True, exist_ok=True)
            elif word.endswith((".csv", ".txt")):
                Path(word).parent.mkdir(parents=True, exist_ok=True)
                Path(word).touch()
        parse_recipe(words)


def test_other_commands_of_the_documents_parse() -> None:
    pages = "\n".join(p.read_text() for p in PAGES).replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```(?:bash|sh)\n(.*?)```", pages, re.DOTALL))
    lines = re.findall(r"^teinet (\w+)(.*)$", blocks, re.MULTILINE)
    seen = set()
    for name, words in lines:
        command, given = import_module(f"teinet.cli.{name}"), shlex.split(words.split(" #")[0])
        if name == "data":
            name, *given = given
            command.command(name).parse(name, given)
        elif name != "train":
            Command(command.run).parse(name, given)
        seen.add(name)
    assert len(seen) > 12 and {"inspect", "check", "shrink", "convert"} <= seen


def test_the_readmes_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for label in ("wave", "clap"):
        for number in range(5):
            (tmp_path / "videos" / label).mkdir(parents=True, exist_ok=True)
            miniatures.write(tmp_path / "videos" / label / f"{number}.mp4", number, 15)
    (tmp_path / "folder").mkdir()
    (tmp_path / "more").mkdir()
    for name in ("clip.mp4", "long.mp4", "folder/a.mp4", "more/b.webm"):
        (tmp_path / name).write_bytes((tmp_path / "videos" / "wave" / "0.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text().split("## Quick start")[1].split("```bash\n")[1].split("```")[0]
    lines = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("teinet")]
    assert [words[1] for words in lines] == ["predict", "explain", "train", "test", "predict", "timeline", "watch"]
    small = ["--model.pretrained", "false", "--frames", "2", "--size", "32", "--epochs", "1", "--workers", "0"]
    smaller = {"resnet50": "resnet10t", "camera": "clip.mp4", "10x3": "2x1"}
    more = {"train": small, "test": ["--workers", "0"], "watch": ["--fast"]}
    for _, command_name, *words in lines:
        words = [smaller.get(word, word).strip("'") for word in words]
        assert main([command_name, *words, *more.get(command_name, [])]) == 0, (command_name, capsys.readouterr().err)
    assert json.loads((tmp_path / "runs" / "first" / "test-2x1" / "metrics.json").read_text())["num_clips"] == 2
