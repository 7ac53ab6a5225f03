"""The words that the style of this project rejects stand nowhere that a user or a reader looks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = {"src": ".py .cpp .jinja .css", "docs": ".md .py", "examples": ".py", "recipes": ".yaml"}
KINDS |= {"benchmarks": ".md .py .yaml", "tests": ".md"}
REJECTED = (
    "anew|rightly|for ever|beside|mend|mended|pictures?|two-sided|recognisers?|recognised?|licence|colours?|behaviour"
    "|laid|normalised|optimised|labelled|unlabelled|quantiser|goes on with|going on with|what happens|shipped|ships"
)


def test_a_stranger_reads_the_words_of_the_field():
    files = [path for top, kinds in KINDS.items() for path in (ROOT / top).rglob("*") if path.suffix in kinds.split()]
    texts = {path: path.read_text(encoding="utf-8") for path in (*files, *ROOT.glob("*.md"))}
    assert len(texts) > 150
    assert not {path: w for path, text in texts.items() if (w := re.findall(rf"(?i)\b(?:{REJECTED})\b", text))}
