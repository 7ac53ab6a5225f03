"""`teinet report`: runs compared with each other and with the paper, as a table or a page."""

from __future__ import annotations

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, an ensemble's results, or a folder of such: runs/"
    )
    parser.add_argument("--output", default=None, metavar="PAGE", help="write a page, page.html")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, and print or write; returns 0, or 1 when a file of a run is damaged."""
    from rich.console import Console

    from teinet.pages.comparison import check_page, write_page
    from teinet.report import compare
    from teinet.report.terminal import lines
    from teinet.utils.text import printable

    page = check_page(args.output) if args.output else None
    comparison = compare(args.runs)
    for damaged, problem in comparison.problems:
        print(printable(f"{damaged.folder}: {problem}"), file=sys.stderr)
    console = Console(highlight=False, markup=False, stderr=args.json)
    if args.json:
        print(json.dumps(comparison.to_dict(), indent=2, allow_nan=False))
    if page is not None:
        write_page(comparison, page)
        count = len(comparison.runs)
        console.print(f"{args.output}: {count} run{'s' if count != 1 else ''}", soft_wrap=True)
    elif not args.json:
        for line in lines(comparison):
            console.print(line, soft_wrap=True)
    return 1 if comparison.problems else 0
