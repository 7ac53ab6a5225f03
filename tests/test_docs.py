"""The documents say what the program does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from teinet.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_recipe_reference_is_what_its_script_writes() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_recipe_reference.py"))
    assert page["PAGE"].read_text() == page["render"](), "run python docs/make_recipe_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_command_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert all(f"`teinet {name}" in text for name in COMMANDS)


def test_the_examples_in_python_of_the_readme_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    build = next(e for e in examples if "insert_temporal" in e)
    small = build.replace("resnet50", "resnet18").replace("224", "32")
    scope: dict = {}
    exec(small, scope)
    assert scope["logits"].shape == (2, 10)


def test_commands_of_the_documents_parse() -> None:
    from teinet.cli.train import parse_recipe

    pages = "\n".join(p.read_text() for p in PAGES)
    lines = [line.split("#")[0].strip() for line in re.findall(r"^teinet train (.+)$", pages, re.MULTILINE)]
    assert len(lines) > 5
    for line in lines:
        if "RECIPE" not in line and "..." not in line:
            import shlex

            parse_recipe(
                [str(ROOT / w) if w.startswith("recipes/") else w for w in shlex.split(line.replace("\\", ""))]
            )
