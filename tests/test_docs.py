"""The documents say what the program does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch

from teinet import Recognizer, create_model
from teinet.cli.main import COMMANDS
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
RUN_ELSEWHERE = {
    "docs/how-to/python.md": "tests/training/test_api.py",
    "docs/how-to/share.md": "tests/recognition/test_sharing.py",
}


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
