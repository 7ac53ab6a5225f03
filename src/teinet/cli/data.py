"""`teinet data ACTION ...`: look at lists of clips and prepare the clips."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from teinet.cli.options import OVERWRITE, ListOptions, check_output, keep_apart, keep_existing
from teinet.cli.parser import Command, Parser, option, positional
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, check_max_damaged
from teinet.errors import AnnotationError, ConfigError, nearest

if TYPE_CHECKING:
    from teinet.data.lists.data_config import DataConfig
    from teinet.data.lists.formats import Listing
    from teinet.data.tools.checking import Checked
    from teinet.data.tools.shrinking import Shrunk

_BAD_SHOWN, _LEFT_OUT_SHOWN = 40, 20
_PATH = "a folder of class folders, or a list of clips"


def main(argv: list[str]) -> int:
    """Run one action and return the exit code; raises ConfigError for an action that does not exist."""
    if not argv or argv[0].startswith("-"):
        listed = "\n".join(f"  {name:<9} {text}" for name, text in ACTIONS.items())
        parser = Parser(
            prog="teinet data",
            usage="teinet data ACTION ...",
            description="Look at lists of clips, and prepare the clips.",
            epilog=f"actions:\n{listed}\n\nPATH is a folder of class folders, a data set's own folder, or a list of "
            "clips.\nteinet data ACTION --help says more.",
        )
        if argv:
            parser.parse_args(argv)
        parser.print_help()
        return 2
    if argv[0] not in ACTIONS:
        raise ConfigError(f"there is no action {argv[0]!r}.{nearest(argv[0], ACTIONS)} See teinet data --help")
    action = command(argv[0])
    return action.run(action.parse(f"data {argv[0]}", argv[1:]))


def command(action: str) -> Command:
    """Return the command of an action."""
    runs: dict[str, Callable[[Any], int]] = {
        "inspect": _inspect, "check": _check, "shrink": _shrink, "shard": _shard, "convert": _convert,
        "draw": _draw,
    }  # fmt: skip
    return Command(runs[action], _draw_options() if action == "draw" else None)


@dataclass(kw_only=True)
class _WorkerOptions:
    """Processes that read files."""

    workers: int | None = option("processes (default: one for each core)")
    read_timeout: float = option("seconds without a frame after which a file is given up", default=60.0)


@dataclass(kw_only=True)
class _ListOptions(ListOptions):
    multi_label: bool = option("clips may have several labels, or none", default=False, group="list of clips")

    def data_config(self, path: str) -> DataConfig:
        return replace(super().data_config(path), multi_label=self.multi_label)


@dataclass(kw_only=True)
class InspectOptions(_ListOptions):
    """Print how a list is read, and measure its clips.

    teinet data inspect videos/
    teinet data inspect clips.csv --sample 1000 --json
    """

    path: str = positional(_PATH)
    sample: int = option("clips to measure, drawn at random", default=200)
    json: bool = option("print everything as JSON", default=False)


def _inspect(args: InspectOptions) -> int:
    """Return 2 where a label is not one of the classes."""
    from rich.console import Console

    from teinet.data.lists.rows import absent
    from teinet.data.lists.splits import read_config
    from teinet.data.tools.inspection import draw_sample, facts, tables

    if args.sample < 0:
        raise ConfigError(f"--sample is {args.sample}; expected 0 or more clips to measure")
    listing = read_config(args.data_config(args.path))
    missing = absent(listing.rows)
    found = facts(listing, missing, found_out=args.format == "auto")
    sample = draw_sample(listing.rows, missing, args.sample, console=Console(stderr=True))
    refused = AnnotationError.exit_code if found["unknown"] else 0  # as by training
    if args.json:
        print(json.dumps({**found, "sample": sample}, indent=2))
        return refused
    console = Console(highlight=False)
    for title, table in tables(found, sample):
        if title:
            console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
    return refused


@dataclass(kw_only=True)
class CheckOptions(_ListOptions, _WorkerOptions):
    """Decode every clip once and list those that are broken or missing.

    teinet data check videos/                 writes videos-check.csv; called again, it continues
    """

    path: str = positional(_PATH)
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED)
    output: str | None = option("csv with a row for every file (default: NAME-check.csv, here)", metavar="FILE")
    overwrite: bool = option(OVERWRITE, default=False)
    json: bool = option("print counts and bad files as JSON", default=False)


def _check(args: CheckOptions) -> int:
    """Return 1 where some file is not as it should be."""
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.checking import check

    path = Path(args.path).absolute()
    output = Path(args.output or f"{path.name if path.is_dir() else path.stem}-check.csv")
    keep_apart({"--output": output}, [args.path])
    check_max_damaged(args.max_damaged, "--max-damaged")
    listing = read_config(args.data_config(args.path))
    checked = check(
        listing.rows,
        output,
        workers=_workers(args),
        timeout=args.read_timeout,
        max_damaged=args.max_damaged,
        overwrite=args.overwrite,
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
    from teinet.utils.text import count, printable

    console = Console(highlight=False, soft_wrap=True)
    if named := [*checked.bad, *checked.damaged]:
        shown = "" if len(named) <= _BAD_SHOWN else f", first {_BAD_SHOWN} of {len(named)}"
        columns = ("file", "status", "why", "list")
        table = plain_table(*columns, text=columns, title=f"broken, missing or damaged files{shown}")
        for finding in sorted(named, key=lambda f: f.status == "missing")[:_BAD_SHOWN]:
            where = f"{finding.list}, line {finding.line}" if finding.line else finding.list
            table.add_row(*(Text(printable(t)) for t in (finding.path, finding.status, finding.reason, where)))
        console.print(table, soft_wrap=False)
    counts = ", ".join(f"{number} {status}" for status, number in checked.counts().items() if number)
    files = count(len(checked.findings), "file")
    before = f" ({checked.resumed} known from an earlier check)" if checked.resumed else ""
    console.print(f"{files} of {count(checked.clips, 'clip')}: {counts}{before}", markup=False)
    gone = f" (rows of {checked.dropped} files that this list does not name were removed)" if checked.dropped else ""
    for order, number in sorted(checked.orders().items()):
        console.print(f"{count(number, 'folder')} of images, ordered by {order}", markup=False)
    if more := [finding for finding in checked.findings if finding.others]:
        text = f"{len(more)} of them hold names that are not taken, for example {more[0].path}: {more[0].others}"
        console.print(printable(text), markup=False)
    console.print(f"every file: {checked.output}{gone}", markup=False)


@dataclass(kw_only=True)
class ShrinkOptions(_ListOptions, _WorkerOptions):
    """Write small copies of all clips, which training reads faster.

    teinet data shrink videos/ --output small/     called again, it continues
    """

    path: str = positional(f"{_PATH}; they are not changed")
    output: str = option("where to write", default=MISSING, metavar="FOLDER")
    short_side: int = option("pixels; none are enlarged", default=256)
    keyframes: int = option("a keyframe every so many frames", default=16)
    quality: int = option("x264's CRF, 0 (best) to 51", default=23)
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED)
    json: bool = option("print what was done as JSON", default=False)


def _shrink(args: ShrinkOptions) -> int:
    """Return 1 where some clip could not be read."""
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.shrinking import shrink
    from teinet.data.tools.small_copy import Shrinking

    check_max_damaged(args.max_damaged, "--max-damaged")
    same = ("short_side", "keyframes", "quality", "max_damaged")
    report = shrink(
        read_config(args.data_config(args.path)),
        Path(args.output),
        Shrinking(**{name: getattr(args, name) for name in same}),
        root=args.root,
        workers=_workers(args),
        timeout=args.read_timeout,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print_shrunk(report, multi_label=args.multi_label)
    return int(bool(report.unreadable))


def _print_shrunk(report: Shrunk, *, multi_label: bool) -> None:
    from rich.console import Console

    from teinet.data.tools.shrinking import DAMAGED, UNREADABLE
    from teinet.utils.text import count, file_size, printable

    console = Console(highlight=False, soft_wrap=True)
    for row, reason in report.unreadable[:_LEFT_OUT_SHOWN]:
        console.print(printable(f"{row.path}: {reason}"), style="red", markup=False)
    if report.unreadable:
        all_of_them = report.list.with_name(UNREADABLE)
        console.print(f"{len(report.unreadable)} clips left out; all of them: {all_of_them}", markup=False)
    for path, damage in report.damaged[:_LEFT_OUT_SHOWN]:
        console.print(printable(f"{path}: {damage}"), style="yellow", markup=False)
    if report.damaged:
        all_of_them = report.list.with_name(DAMAGED)
        files = f"{len(report.damaged)} damaged file{'s' if len(report.damaged) > 1 else ''}"
        console.print(f"{files} copied as far as possible: {all_of_them}", markup=False)
    before = f", {report.resumed} of them before" if report.resumed else ""
    share = f" ({report.after / report.before:.0%})" if report.before else ""
    sizes = f"{file_size(report.before)} became {file_size(report.after)}{share}"
    console.print(f"{count(report.files, 'file')}{before}: {sizes}", markup=False)
    console.print(f"list of {count(report.clips, 'clip')}: {report.list}", markup=False)
    if report.after > report.before:
        console.print("The originals are smaller than these copies: train on the originals")
        return
    console.print(f"Next: {_next_training(report.list, report.labels, multi_label=multi_label)}", markup=False)


@dataclass(kw_only=True)
class ShardOptions(_ListOptions, _WorkerOptions):
    """Pack all clips into a few large files, which object stores deliver faster.

    teinet data shard videos/ --output shards/     called again, it continues
    """

    path: str = positional(f"{_PATH}; they are not changed")
    output: str = option("where to write", default=MISSING, metavar="FOLDER")
    container: Literal["tar", "parquet"] = option("tar, which WebDataset reads too, or Parquet", default="tar")
    size: int = option("MB of a shard", default=256)
    json: bool = option("print what was done as JSON", default=False)


def _shard(args: ShardOptions) -> int:
    """Return 1 where some clip has no file."""
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.sharding import shard
    from teinet.utils.text import count, file_size, printable

    if args.size < 1:
        raise ConfigError(f"--size is {args.size}; a shard has 1 MB or more")
    if args.container == "parquet":
        import pyarrow  # noqa: F401  # before the work, if it is missing
    done = shard(
        read_config(args.data_config(args.path)),
        Path(args.output),
        container=args.container,
        size=args.size,
        workers=_workers(args),
        timeout=args.read_timeout,
        console=Console(stderr=True),
    )
    if args.json:
        print(json.dumps(done.to_dict(), indent=2))
        return int(bool(done.missing))
    for path in done.missing[:_LEFT_OUT_SHOWN]:
        print(printable(f"{path}: no such file; left out"))
    before = f", {done.resumed} of them before" if done.resumed else ""
    print(f"{count(done.shards, 'shard')}{before}: {count(done.files, 'file')}, {file_size(done.bytes)}")
    print(f"index of {count(done.clips, 'clip')}: {done.index}")
    print(f"Next: {_next_training(done.index.parent, None, multi_label=args.multi_label)}")
    return int(bool(done.missing))


@dataclass(kw_only=True)
class ConvertListOptions(_ListOptions):
    """Write any list as a csv with named columns, or as tasks of a labeling tool.

    teinet data convert ucf101/ --output clips.csv      class names go to clips.labels.txt
    teinet data convert events.csv --output tasks.json  found events for Label Studio, to be corrected
    teinet data convert events.csv --output cvat/       the same for CVAT, a file for each video
    """

    path: str = positional(_PATH)
    output: str = option(
        "a csv, whose class names go to FILE.labels.txt; a .json for Label Studio; a folder for CVAT",
        default=MISSING,
        metavar="FILE|FOLDER/",
    )
    absolute: bool = option("whole paths (default: from the csv's folder on)", default=False)
    overwrite: bool = option(OVERWRITE, default=False)


def _convert(args: ConvertListOptions) -> int:
    from teinet.data.lists.splits import read_config
    from teinet.data.lists.write_list import convert
    from teinet.utils.text import count

    listing = read_config(args.data_config(args.path))
    if args.output.endswith((".json", "/")) or Path(args.output).is_dir():
        return _write_tasks(listing, args)
    done = convert(listing, Path(args.output), absolute=args.absolute, overwrite=args.overwrite)
    print(f"{count(len(listing.rows), 'clip')} of format {listing.format}: {done.list}")
    if done.labels:
        print(f"{done.classes} class names in their order: {done.labels}")
    if done.missing:
        print(f"{done.missing} of its clips are missing")
    # Of a data set of which no copy is complete, training would leave them out; of a csv it does so when told to.
    drop = listing.incomplete and done.missing > 0
    print(f"Next: {_next_training(done.list, done.labels, multi_label=args.multi_label, drop=drop)}")
    return 0


def _write_tasks(listing: Listing, args: ConvertListOptions) -> int:
    from teinet.data.lists.labeling_tasks import write_cvat, write_label_studio
    from teinet.utils.text import count

    output = Path(args.output)
    keep_apart({"--output": output}, [args.path])
    if args.output.endswith(".json"):
        check_output(args.output, [args.path], overwrite=args.overwrite)
        print(f"{count(write_label_studio(listing.rows, output), 'task')} for Label Studio: {output}")
        return 0
    written = {str(output / f"{Path(row.path).stem}.xml") for row in listing.rows}
    keep_existing(sorted(written), overwrite=args.overwrite)
    print(f"{count(write_cvat(listing.rows, output), 'file')} for CVAT, one a video: {output}/")
    return 0


def _draw_options() -> type:
    """Return a dataclass of the folder and the settings of MotionPairs, with the help of its docstring."""
    from teinet.data.motion_pairs import MotionPairs
    from teinet.utils.text import documented_arguments

    meaning = documented_arguments(MotionPairs)
    settings = [
        (f.name, type(f.default), option(meaning[f.name].rstrip("."), default=f.default)) for f in fields(MotionPairs)
    ]
    text = "where to write; called again, an interrupted drawing continues"
    output = ("output", str, option(text, default="motion_pairs", metavar="FOLDER"))
    made = make_dataclass("DrawOptions", [output, *settings], kw_only=True)
    made.__doc__ = (
        "Draw motion_pairs: clips in pairs that are each other played backwards.\n\n"
        "teinet data draw\nteinet data draw --output clips/ --train 40"
    )
    return made


def _draw(args: Any) -> int:
    from rich.console import Console

    from teinet.data.motion_pairs import MotionPairs, draw_with_progress

    settings = MotionPairs(**{f.name: getattr(args, f.name) for f in fields(MotionPairs)})
    console = Console()
    folder = draw_with_progress(Path(args.output), settings, console)
    console.print(f"wrote {folder}\nNext: teinet train {folder}", highlight=False, soft_wrap=True)
    return 0


def _workers(args: _WorkerOptions) -> int:
    from teinet.utils.worker_pool import usable_cores

    workers = usable_cores() if args.workers is None else args.workers
    if workers < 0 or not args.read_timeout > 0:
        raise ConfigError(
            f"--workers must be at least 0 and --read-timeout above 0; got {workers}, {args.read_timeout:g}"
        )
    return workers


def _next_training(list_: Path, labels: Path | None, *, multi_label: bool, drop: bool = False) -> str:
    """Return the command that trains on a new list."""
    words = ["teinet", "train", str(list_)]
    words += ["--labels", str(labels)] if labels else []
    words += ["--multi-label", "true"] if multi_label else []
    words += ["--data.missing", "drop"] if drop else []
    return shlex.join(words)


ACTIONS = {
    "inspect": "print how a list is read, and measure its clips",
    "check": "decode every clip once and list those that are broken or missing",
    "shrink": "write small copies of all clips, which training reads faster",
    "shard": "pack all clips into a few large files, for object stores",
    "convert": "write any list as a csv with named columns",
    "draw": "draw the embedded data set motion_pairs",
}
