"""The documents say what the program does."""

from __future__ import annotations

import re
import runpy
import shlex
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from teinet.cli.main import COMMANDS
from teinet.cli.parser import Command

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


def test_the_examples_in_python_compile_and_the_readmes_runs() -> None:
    examples = [e for page in PAGES for e in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(examples) > 5
    for example in examples:
        compile(example, "example", "exec")
    build = next(e for e in examples if "insert_temporal" in e)
    small = build.replace("resnet50", "resnet18").replace("224", "32")
    scope: dict = {}
    exec(small, scope)
    assert scope["logits"].shape == (2, 10)


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
