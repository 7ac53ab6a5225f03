"""`teinet data shrink`: write small copies of all clips, from which training reads faster."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.lists import add_list_options, data_config

if TYPE_CHECKING:
    from teinet.data.tools.shrink.lists import Report

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips; they are not changed")
    parser.add_argument("folder", help="where to write; the same command goes on with what it began")
    add_list_options(parser)
    parser.add_argument("--short-side", type=int, default=256, help="pixels; none are enlarged (default: 256)")
    parser.add_argument("--keyframes", type=int, default=16, help="a keyframe every so many frames (default: 16)")
    parser.add_argument("--quality", type=int, default=23, help="x264's rate factor, 0 (best) to 51 (default: 23)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one for each core)")
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds without a new frame before a file is given up (default: 60)"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Shrink and print; returns 0, or 1 when some clip could not be read.

    Raises:
        TeinetError: an unusable list, folder or setting; or `Interrupted`, with what was written kept.
    """
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.shrink.run import shrink
    from teinet.data.tools.shrink.settings import Shrinking
    from teinet.utils.worker_pool import usable_cores

    settings = Shrinking(short_side=args.short_side, keyframes=args.keyframes, quality=args.quality)
    report = shrink(
        read_config(data_config(args, args.path)),
        Path(args.folder),
        settings,
        root=args.root,
        workers=usable_cores() if args.workers is None else args.workers,
        timeout=args.timeout,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report)
    return int(bool(report.unreadable))


def _print(report: Report) -> None:
    from rich.console import Console

    from teinet.cli.data import next_training
    from teinet.data.tools.shrink.lists import UNREADABLE
    from teinet.utils.text import file_size, printable

    console = Console(highlight=False, soft_wrap=True)
    for row, reason in report.unreadable[:_SHOWN]:
        console.print(printable(f"{row.path}: {reason}"), style="red", markup=False)
    if report.unreadable:
        all_of_them = report.list.with_name(UNREADABLE)
        console.print(f"{len(report.unreadable)} clips left out; all of them: {all_of_them}", markup=False)
    before = f", {report.resumed} of them before" if report.resumed else ""
    share = f" ({report.after / report.before:.0%})" if report.before else ""
    console.print(
        f"{report.files} files{before}: {file_size(report.before)} became {file_size(report.after)}{share}",
        markup=False,
    )
    console.print(f"list of {report.clips} clips: {report.list}", markup=False)
    console.print(f"Next: {next_training(report.list, report.labels)}", markup=False)
