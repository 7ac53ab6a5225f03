"""`teinet report`: one page that compares runs with each other and with the paper."""

from __future__ import annotations

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, an ensemble's results, or a folder of such: runs/"
    )
    parser.add_argument("--output", default=None, metavar="PAGE", help="write a page, page.html or page.md")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, and print or write; returns 0, or 1 when a file of a run is damaged."""
    from rich.console import Console

    from teinet.pages.comparison import page_writer
    from teinet.report.compare import compare
    from teinet.report.plain import plain
    from teinet.report.terminal import lines
    from teinet.utils.text import printable

    write = page_writer(args.output) if args.output else None
    comparison = compare(args.runs)
    for damaged, problem in comparison.problems:
        print(printable(f"{damaged.folder}: {problem}"), file=sys.stderr)
    if write is not None:
        write(comparison)
    if args.json:
        print(json.dumps(plain(comparison), indent=2, allow_nan=False))
    console = Console(highlight=False, soft_wrap=True, stderr=args.json)
    if write is not None:
        count = len(comparison.runs)
        console.print(f"{args.output}: {count} run{'s' if count != 1 else ''}", markup=False)
    elif not args.json:
        for line in lines(comparison):
            console.print(line)
    return 1 if comparison.problems else 0
