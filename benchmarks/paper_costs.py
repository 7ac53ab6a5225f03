"""Prints what `teinet benchmark --paper --json` wrote as Markdown: python -m benchmarks.paper_costs FILE.json"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console

from teinet.cli.benchmark import costs_table, remarks


def main(words: Sequence[str]) -> None:
    """Print the table of a file, and the lines below it."""
    found = json.loads(Path(words[0]).read_text())
    table = costs_table(found["models"], found["batch_size"])
    table.box, table.pad_edge = MARKDOWN, True
    Console(width=1000, highlight=False).print(table, *remarks(found["models"], found["batch_size"]), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
