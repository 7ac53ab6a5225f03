"""`teinet data check`: decode every clip once and name those that are broken."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.lists import add_list_options, data_config
from teinet.cli.places import keep_apart

if TYPE_CHECKING:
    from teinet.data.tools.check import Report

_SHOWN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips")
    add_list_options(parser)
    parser.add_argument("--output", default="check.csv", help="a row for every file (default: check.csv)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one for each core)")
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds without a new frame before a file is stuck (default: 60)"
    )
    parser.add_argument("--again", action="store_true", help="start over, whatever the output knows from before")
    parser.add_argument("--json", action="store_true", help="print counts and bad files as JSON")


def run(args: argparse.Namespace) -> int:
    """Check and print; returns 0, or 1 when some file is not as it should be.

    Raises:
        TeinetError: an unusable list or setting; or `Interrupted`, with what was found kept.
    """
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.check import check
    from teinet.utils.worker_pool import usable_cores

    keep_apart({"--output": args.output}, [args.path])
    listing = read_config(data_config(args, args.path))
    report = check(
        listing.rows,
        Path(args.output),
        workers=usable_cores() if args.workers is None else args.workers,
        timeout=args.timeout,
        again=args.again,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report)
    # No copy of some data sets is complete: there, what is missing is known and no fault.
    return int(any(not (listing.incomplete and finding.status == "missing") for finding in report.bad))


def _print(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from teinet.utils.text import printable

    console = Console(highlight=False, soft_wrap=True)
    if report.bad:
        shown = "" if len(report.bad) <= _SHOWN else f", first {_SHOWN} of {len(report.bad)}"
        table = Table(title=f"not as they should be{shown}", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
        for column in ("file", "status", "why", "list"):
            table.add_column(column, overflow="fold")
        for finding in sorted(report.bad, key=lambda f: f.status == "missing")[:_SHOWN]:
            where = f"{finding.list}, line {finding.line}" if finding.line else finding.list
            table.add_row(*(Text(printable(t)) for t in (finding.path, finding.status, finding.reason, where)))
        console.print(table, soft_wrap=False)
    counts = ", ".join(f"{count} {status}" for status, count in report.counts().items() if count)
    before = f" ({report.resumed} known from an earlier check)" if report.resumed else ""
    console.print(f"{len(report.findings)} files of {report.clips} clips: {counts}{before}", markup=False)
    console.print(f"every file: {report.output}", markup=False)
