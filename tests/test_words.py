"""The words that the style of this project rejects stand nowhere that a user or a reader looks."""

import ast
import re
from pathlib import Path

from teinet.models.header import list_pretrained

ROOT = Path(__file__).parents[1]
KINDS = {"src": ".py .cpp .jinja .css .html .js", "docs": ".md .py", "examples": ".py", "recipes": ".yaml"}
KINDS |= {"benchmarks": ".md .py .yaml", "tests": ".md"}
REJECTED = (
    "anew|rightly|for ever|beside|mend|mended|pictures?|two-sided|recognisers?|recognised?|licence|colours?|behaviour"
    "|laid|normalised|optimised|labelled|unlabelled|quantiser|goes on|gone on|went on|going on|what happens|shipped"
    "|ships|nobody|somebody|anybody|wherever|nowhere|per cent|truly|flatters?|commonest|shall|heeds?"
    "|holds no|takes no|is there already|is not there|looks through|looked through|lies? in|lies next|nothing happens"
    "|broke off|finds out|found out|told apart|taken for|takes for|as said|unharmed|stands here"
    "|mirror(?:s|ed|ing)?|divisions?|spacing|pace|goe?s? on with|wound|does not end"
)


def texts(kinds: dict[str, str]) -> dict[Path, str]:
    files = [path for top, ends in kinds.items() for path in (ROOT / top).rglob("*") if path.suffix in ends.split()]
    return {path: path.read_text(encoding="utf-8") for path in (*files, *ROOT.glob("*.md"))}


def test_a_stranger_reads_the_words_of_the_field():
    found = texts(KINDS)
    assert len(found) > 150
    for each in list_pretrained():
        found[each.path] = "\n".join([each.header["license"], *map(str, each.header["card"].values())])
    assert not {path: w for path, text in found.items() if (w := re.findall(rf"(?i)\b(?:{REJECTED})\b", text))}


def test_docstrings_say_what_things_are_or_do():
    """A caption such as "Whether it fits" says neither; ruff's D401 holds functions to the imperative."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [(path, node) for path in (ROOT / "src").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    found = [(path, text) for path, node in nodes if isinstance(node, kinds) and (text := ast.get_docstring(node))]
    assert len(found) > 800
    assert not [each for each in found if re.match(r"(What|Whether|Which|How)\b", each[1])]
