"""`teinet report`: runs compared with each other and with the paper, as a table or a page."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from teinet.cli.options import OVERWRITE, PAGE, check_output, output_form
from teinet.cli.parser import option, positional


@dataclass(kw_only=True)
class ReportOptions:
    """Compare runs with each other and with the paper.

    teinet report runs/                          a table of all runs
    teinet report runs/a runs/b --output page.html
    """

    runs: list[str] = positional("a run's folder, an ensemble's results, or a folder of these: runs/", metavar="RUN")
    output: str | None = option("write a page, .html", metavar="PAGE")
    overwrite: bool = option(OVERWRITE, default=False)
    json: bool = option("print everything as JSON", default=False)


def run(args: ReportOptions) -> int:
    """Compare, and print or write; return 0, or 1 when a file of a run is damaged."""
    if args.output:
        output_form(args, PAGE)
        check_output(args.output, [], overwrite=args.overwrite)
    from rich.console import Console

    from teinet.pages.comparison import write_page
    from teinet.report import compare
    from teinet.report.terminal import lines
    from teinet.utils.text import printable

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
        console.print(f"wrote {args.output} ({count} run{'s' if count != 1 else ''})", soft_wrap=True)
    elif not args.json:
        for line in lines(comparison):
            console.print(line, soft_wrap=True)
    return 1 if problems else 0
