"""`teinet data ACTION ...`: look at lists of clips and prepare the clips."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.options import add_list_options, data_config, keep_apart
from teinet.cli.parser import Parser
from teinet.errors import ConfigError, nearest

if TYPE_CHECKING:
    from teinet.data.tools.checking import Checked
    from teinet.data.tools.shrinking import Shrunk

_BAD_SHOWN, _LEFT_OUT_SHOWN = 40, 20
_PATH = "a folder of class folders, or a list of clips"


def main(argv: list[str]) -> int:
    """Run one action and return the exit code; raises ConfigError for an action that does not exist."""
    if not argv or argv[0].startswith("-"):
        listed = "\n".join(f"  {name:<9} {what}" for name, (what, _, _) in ACTIONS.items())
        parser = Parser(
            prog="teinet data",
            usage="teinet data ACTION ...",
            description="Look at lists of clips, and prepare the clips.",
            epilog=f"actions:\n{listed}\n\nPATH is a folder of class folders, a data set's own folder, or a list of "
            "clips; teinet data ACTION --help says more.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if argv:
            parser.parse_args(argv)
        parser.print_help()
        return 2
    name = argv[0]
    if name not in ACTIONS:
        raise ConfigError(f"there is no action {name!r}.{nearest(name, ACTIONS)} See teinet data --help")
    what, add_arguments, run = ACTIONS[name]
    parser = Parser(prog=f"teinet data {name}", description=what)
    add_arguments(parser)
    return run(parser.parse_args(argv[1:]))


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help=_PATH)
    add_list_options(parser)
    parser.add_argument("--sample", type=int, default=200, help="clips to measure, drawn at random (default: 200)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _inspect(args: argparse.Namespace) -> int:
    from rich.console import Console

    from teinet.data.lists.rows import absent
    from teinet.data.lists.splits import read_config
    from teinet.data.tools.inspection import draw_sample, facts, tables

    if args.sample < 0:
        raise ConfigError(f"--sample is {args.sample}; expected 0 or more clips to measure")
    listing = read_config(data_config(args, args.path))
    missing = absent(listing.rows)
    found = facts(listing, missing, found_out=args.format == "auto")
    sample = draw_sample(listing.rows, missing, args.sample, console=Console(stderr=True))
    if args.json:
        print(json.dumps({**found, "sample": sample}, indent=2))
        return 0
    console = Console(highlight=False)
    for title, table in tables(found, sample):
        if title:
            console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help=_PATH)
    add_list_options(parser)
    parser.add_argument("--output", default="check.csv", help="a row for every file (default: check.csv)")
    _add_worker_options(parser, "is stuck")
    parser.add_argument("--again", action="store_true", help="start over, whatever an earlier check found")
    parser.add_argument("--json", action="store_true", help="print counts and bad files as JSON")


def _check(args: argparse.Namespace) -> int:
    """Return 1 where some file is not as it should be."""
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.checking import check

    keep_apart({"--output": args.output}, [args.path])
    listing = read_config(data_config(args, args.path))
    checked = check(
        listing.rows,
        Path(args.output),
        workers=_workers(args),
        timeout=args.timeout,
        again=args.again,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(checked.to_dict(), indent=2))
    else:
        _print_checked(checked)
    # No copy of some data sets is complete: there, what is missing is known and no fault.
    return int(any(not (listing.incomplete and finding.status == "missing") for finding in checked.bad))


def _print_checked(checked: Checked) -> None:
    from rich.console import Console
    from rich.text import Text

    from teinet.utils.tables import plain_table
    from teinet.utils.text import printable

    console = Console(highlight=False, soft_wrap=True)
    if checked.bad:
        shown = "" if len(checked.bad) <= _BAD_SHOWN else f", first {_BAD_SHOWN} of {len(checked.bad)}"
        columns = ("file", "status", "why", "list")
        table = plain_table(*columns, text=columns, title=f"not as they should be{shown}")
        for finding in sorted(checked.bad, key=lambda f: f.status == "missing")[:_BAD_SHOWN]:
            where = f"{finding.list}, line {finding.line}" if finding.line else finding.list
            table.add_row(*(Text(printable(t)) for t in (finding.path, finding.status, finding.reason, where)))
        console.print(table, soft_wrap=False)
    counts = ", ".join(f"{count} {status}" for status, count in checked.counts().items() if count)
    before = f" ({checked.resumed} known from an earlier check)" if checked.resumed else ""
    console.print(f"{len(checked.findings)} files of {checked.clips} clips: {counts}{before}", markup=False)
    gone = f" (without {checked.dropped} of an earlier check, which this list does not name)" if checked.dropped else ""
    console.print(f"every file: {checked.output}{gone}", markup=False)


def _shrink_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help=f"{_PATH}; they are not changed")
    parser.add_argument("folder", help="where to write; the same command continues what it began")
    add_list_options(parser)
    parser.add_argument("--short-side", type=int, default=256, help="pixels; none are enlarged (default: 256)")
    parser.add_argument("--keyframes", type=int, default=16, help="a keyframe every so many frames (default: 16)")
    parser.add_argument("--quality", type=int, default=23, help="x264's rate factor, 0 (best) to 51 (default: 23)")
    _add_worker_options(parser, "is given up")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def _shrink(args: argparse.Namespace) -> int:
    """Return 1 where some clip could not be read."""
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.shrinking import shrink
    from teinet.data.tools.small_copy import Shrinking

    report = shrink(
        read_config(data_config(args, args.path)),
        Path(args.folder),
        Shrinking(short_side=args.short_side, keyframes=args.keyframes, quality=args.quality),
        root=args.root,
        workers=_workers(args),
        timeout=args.timeout,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print_shrunk(report)
    return int(bool(report.unreadable))


def _print_shrunk(report: Shrunk) -> None:
    from rich.console import Console

    from teinet.data.tools.shrinking import UNREADABLE
    from teinet.utils.text import file_size, printable

    console = Console(highlight=False, soft_wrap=True)
    for row, reason in report.unreadable[:_LEFT_OUT_SHOWN]:
        console.print(printable(f"{row.path}: {reason}"), style="red", markup=False)
    if report.unreadable:
        all_of_them = report.list.with_name(UNREADABLE)
        console.print(f"{len(report.unreadable)} clips left out; all of them: {all_of_them}", markup=False)
    before = f", {report.resumed} of them before" if report.resumed else ""
    share = f" ({report.after / report.before:.0%})" if report.before else ""
    sizes = f"{file_size(report.before)} became {file_size(report.after)}{share}"
    console.print(f"{report.files} files{before}: {sizes}", markup=False)
    console.print(f"list of {report.clips} clips: {report.list}", markup=False)
    console.print(f"Next: {_next_training(report.list, report.labels)}", markup=False)


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help=_PATH)
    parser.add_argument("output", metavar="OUT.csv", help="the csv; class names go to OUT.labels.txt next to it")
    add_list_options(parser)
    parser.add_argument("--absolute", action="store_true", help="whole paths (default: from the csv's folder on)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def _convert(args: argparse.Namespace) -> int:
    from teinet.data.lists.splits import read_config
    from teinet.data.lists.write_list import convert

    listing = read_config(data_config(args, args.path))
    done = convert(listing, Path(args.output), absolute=args.absolute, force=args.force)
    print(f"{len(listing.rows)} clips of format {listing.format}: {done.list}")
    if done.labels:
        print(f"{done.classes} class names in their order: {done.labels}")
    if done.missing:
        print(f"{done.missing} of its clips are not there")
    # Of a data set of which no copy is complete, training would leave them out; of a csv it does so when told to.
    drop = listing.incomplete and done.missing > 0
    print(f"Next: {_next_training(done.list, done.labels, drop=drop)}")
    return 0


def _draw_arguments(parser: argparse.ArgumentParser) -> None:
    from docstring_parser import parse

    from teinet.data.motion_pairs import MotionPairs

    text = parse(MotionPairs.__doc__ or "")
    meaning = {p.arg_name: p.description for p in text.params}
    parser.description = text.short_description
    parser.add_argument("folder", help="where to write; an interrupted drawing goes on")
    for field in fields(MotionPairs):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{meaning[field.name]} (default: {field.default})",
        )


def _draw(args: argparse.Namespace) -> int:
    from rich.console import Console

    from teinet.data.motion_pairs import MotionPairs, draw_with_progress

    settings = MotionPairs(**{f.name: getattr(args, f.name) for f in fields(MotionPairs)})
    console = Console()
    folder = draw_with_progress(Path(args.folder), settings, console)
    console.print(f"{folder}: ready. Next: teinet train --data {folder}", highlight=False, soft_wrap=True)
    return 0


def _add_worker_options(parser: argparse.ArgumentParser, fate: str) -> None:
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one for each core)")
    parser.add_argument("--timeout", type=float, default=60, help=f"seconds without a frame until it {fate} (60)")


def _workers(args: argparse.Namespace) -> int:
    from teinet.utils.worker_pool import usable_cores

    workers = usable_cores() if args.workers is None else args.workers
    if workers < 0 or not args.timeout > 0:
        raise ConfigError(f"workers is {workers} and timeout {args.timeout:g}; expected 0 or more, and seconds above 0")
    return workers


def _next_training(list_: Path, labels: Path | None, *, drop: bool = False) -> str:
    """The command that trains on a list that was just written."""
    words = ["teinet", "train", "--data", str(list_)]
    words += ["--data.labels", str(labels)] if labels else []
    words += ["--data.missing", "drop"] if drop else []
    return shlex.join(words)


# What each action does, what it takes, and what runs it.
ACTIONS = {
    "inspect": ("say what a list was understood to be, and how its clips are", _inspect_arguments, _inspect),
    "check": ("decode every clip once and name those that are broken", _check_arguments, _check),
    "shrink": ("write small copies of all clips, from which training reads faster", _shrink_arguments, _shrink),
    "convert": ("write any list as a csv with named columns", _convert_arguments, _convert),
    "draw": ("draw the embedded data set motion_pairs", _draw_arguments, _draw),
}
