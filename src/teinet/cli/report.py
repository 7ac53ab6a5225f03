"""`teinet report`: runs compared with each other and with the paper, as a table or a page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="a run's folder, an ensemble's results, or a folder of such: runs/")
    add("--output", default=None, metavar="PAGE", help="write a page, page.html")
    add("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, and print or write; returns 0, or 1 when a file of a run is damaged."""
    from rich.console import Console

    from teinet.cli.options import check_file
    from teinet.errors import ConfigError
    from teinet.pages.comparison import write_page
    from teinet.report import compare
    from teinet.report.terminal import lines
    from teinet.utils.text import printable

    if args.output:
        if not args.output.lower().endswith((".html", ".htm")):
            raise ConfigError(f"{args.output}: a page is HTML; give it a name that ends in .html")
        check_file(args.output)
    comparison = compare(args.runs)
    problems = [f"{each.folder}: {problem}" for each in comparison.runs for problem in each.problems]
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    console = Console(highlight=False, markup=False, stderr=args.json)
    if args.json:
        print(json.dumps(comparison.to_dict(), indent=2, allow_nan=False))
    if args.output:
        write_page(comparison, Path(args.output))
        count = len(comparison.runs)
        console.print(f"{args.output}: {count} run{'s' if count != 1 else ''}", soft_wrap=True)
    elif not args.json:
        for line in lines(comparison):
            console.print(line, soft_wrap=True)
    return 1 if problems else 0
