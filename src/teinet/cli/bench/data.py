"""`teinet bench data`: the loader's own throughput, with no network behind it."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from teinet.cli.lists import add_list_options, data_config
from teinet.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.benchmark.data import LoaderReport
    from teinet.benchmark.loading import Loading

_SHOWN = 4  # kinds of clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips")
    add_list_options(parser)
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip (default: 8)")
    parser.add_argument("--size", type=int, default=224, help="side of the square picture, pixels (default: 224)")
    parser.add_argument("--short-side", type=int, default=None, help="before cropping (default: size * 256 / 224)")
    parser.add_argument("--strategy", choices=("segments", "dense"), default="segments", help="default: segments")
    parser.add_argument("--window", type=int, default=64, help="frames of the dense window (default: 64)")
    parser.add_argument("--interpolation", choices=("bilinear", "bicubic"), default="bilinear", help="of the backbone")
    parser.add_argument("--views", default="train", help="train, or a test's clips x crops: 1x1, 10x3 (default: train)")
    parser.add_argument("--batch-size", type=int, default=16, help="clips of a step, in a test videos (default: 16)")
    parser.add_argument(
        "--workers",
        default=None,
        metavar="0,1,2,4",
        help="numbers of them to measure (default: 0, 1, 2, 4, ... cores)",
    )
    parser.add_argument("--clips", type=int, default=128, help="how many of the list, drawn at random (default: 128)")
    parser.add_argument("--seconds", type=float, default=20, help="for each number of workers (default: 20)")
    parser.add_argument(
        "--step-seconds", type=float, default=None, help="of a network: say how many workers keep up with it"
    )
    parser.add_argument(
        "--read-timeout", type=float, default=120, help="seconds after which a file that hangs ends it (default: 120)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0, or 1 when some clip could not be read.

    Raises:
        TeinetError: a list or setting that cannot be used.
    """
    from rich.console import Console

    from teinet.benchmark.data import benchmark_loader
    from teinet.utils.machine import machine

    loading, workers = _loading(args), _workers(args.workers)
    with Console(stderr=True).status("") as status:
        report = benchmark_loader(
            data_config(args, args.path),
            loading,
            workers=workers,
            clips=args.clips,
            seconds=args.seconds,
            read_timeout=args.read_timeout,
            say=status.update,
        )
    if args.json:
        print(json.dumps({"machine": machine(), **report.to_dict()}, indent=2, ensure_ascii=False))
    else:
        _print(Console(highlight=False, soft_wrap=True), report, args.step_seconds)
    return int(bool(report.unreadable))


def _loading(args: argparse.Namespace) -> Loading:
    from teinet.benchmark.loading import Loading
    from teinet.data.sampling import Sampling
    from teinet.data.transforms import Preprocessing
    from teinet.data.views import Views

    for name, value, low in (
        ("--batch-size", args.batch_size, 1),
        ("--clips", args.clips, 1),
        ("--read-timeout", args.read_timeout, 0),
    ):
        if not value >= low:
            raise ConfigError(f"{name} is {value}; it must be at least {low}")
    for name, value in (("--seconds", args.seconds), ("--step-seconds", args.step_seconds)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}; it must be above 0")
    return Loading(
        sampling=Sampling(num_frames=args.frames, strategy=args.strategy, window=args.window),
        preprocessing=Preprocessing(
            size=args.size,
            short_side=args.short_side or round(args.size * 256 / 224),
            interpolation=args.interpolation,
        ),
        views=None if args.views == "train" else Views.parse(args.views),
        batch_size=args.batch_size,
    )


def _workers(text: str | None) -> list[int]:
    from teinet.benchmark.throughput import usual_workers

    if text is None:
        return usual_workers()
    try:
        numbers = sorted({int(number) for number in text.split(",")})
    except ValueError:
        numbers = [-1]
    if numbers[0] < 0:
        raise ConfigError(f"--workers {text!r}: write numbers from 0 with commas between them, such as 0,1,2,4")
    return numbers


def _print(console: Console, report: LoaderReport, step_seconds: float | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from teinet.evaluation.scores import percent
    from teinet.utils.text import printable

    told = report.loading.to_dict()
    kinds = ", ".join(f"{count} {kind}" for kind, count in list(report.kinds.items())[:_SHOWN])
    console.print(
        f"{report.clips} of {report.listed} clips ({kinds}{', ...' if len(report.kinds) > _SHOWN else ''}); "
        f"{told['views']}: {told['num_frames']} frames of {told['size']} px, batches of {told['batch_size']}",
        markup=False,
    )
    for path, reason in report.unreadable[:_SHOWN]:
        console.print(printable(f"not read: {path}: {reason}"), markup=False)
    stages = Table(title="one process", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for column in ("stage", "ms a clip", "share"):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    each = report.stages.milliseconds()
    for name, value in each.items():
        stages.add_row(name, f"{value:.1f}", percent(value / sum(each.values())))
    console.print(stages)
    if report.counting is not None:
        console.print(f"the first look at a file, once: {1e3 * report.counting:.1f} ms more, to count its frames")
    loader = Table(title="the loader", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for column in ("workers", "clips/s", "min", "max", "frames/s", "MB/s read", "from disk"):
        loader.add_column(column, justify="right")
    for t in report.measured:
        clips = t.clips_per_second
        megabytes = "-" if math.isnan(t.megabytes_per_second) else f"{t.megabytes_per_second:.1f}"
        frames = f"{clips.median * report.loading.frames_per_clip:.0f}"
        rates = (f"{value:.1f}" for value in clips)
        loader.add_row(str(t.workers), *rates, frames, megabytes, percent(t.disk_share))
    console.print(loader)
    if step_seconds is not None:
        console.print(verdict(report, step_seconds))


def verdict(report: LoaderReport, step_seconds: float) -> str:
    """How many workers keep up with a network whose steps take so long."""
    from teinet.benchmark.throughput import enough
    from teinet.evaluation.scores import percent

    batch = report.loading.batch_size
    needed = batch / step_seconds
    asked = f"a step of {step_seconds:g} s with {batch} clips takes {needed:.1f} clips/s"
    if (found := enough(report.measured, needed)) is not None:
        return f"{asked}: --workers {found.workers} is enough"
    best = max(report.measured, key=lambda t: t.clips_per_second.median)
    rate = best.clips_per_second.median
    return (
        f"{asked}: none of these keeps up with it; the best, --workers {best.workers} with {rate:.1f} clips/s, would "
        f"let it wait {percent(1 - rate / needed)} of the time"
    )
