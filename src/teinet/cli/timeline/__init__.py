"""`teinet timeline`: what happens when in long recordings."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING

from teinet.cli.text import printable
from teinet.errors import ConfigError, VideoError

if TYPE_CHECKING:
    from teinet.inference.timeline import Timeline

FORMS = ("table", "json", "csv", "vtt")
CSV_COLUMNS = ("path", "start", "end", "label", "score", "peak")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "weights", help="a run's folder (its last weights), a .safetensors file, or a shipped recogniser's name"
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="files, folders and all in them, patterns")
    parser.add_argument(
        "--every",
        type=float,
        default=None,
        metavar="SECONDS",
        help="between the frames that the network takes (default: as in its training)",
    )
    add_rules(parser)
    parser.add_argument(
        "--span", type=int, default=None, help="causal networks: frames that a score averages over (default: T)"
    )
    parser.add_argument(
        "--hop", type=int, default=None, help="two-sided networks: frames from one window to the next (default: T/2)"
    )
    parser.add_argument("--format", choices=FORMS, default=None, help="default: table, or what --output's suffix says")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("--output", default=None, help="write to this file (.json, .csv, .vtt or text)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare when events begin and end."""
    parser.add_argument("--begin", type=float, default=0.5, help="the score at which an event begins (default: 0.5)")
    parser.add_argument("--end", type=float, default=0.35, help="the score below which it ends (default: 0.35)")
    parser.add_argument("--least", type=float, default=0.5, help="seconds that it must last (default: 0.5)")
    parser.add_argument(
        "--nothing", action="append", default=[], metavar="LABEL", help="a class that means that nothing happens"
    )


def run(args: argparse.Namespace) -> int:
    """Look through the videos and print what happens; returns 0, 1 when some video could not be read, 130 by Ctrl-C.

    Raises:
        TeinetError: unusable weights or arguments, before any video is looked at.
    """
    from teinet.inference import Recognizer, timeline
    from teinet.inference.events import Rules
    from teinet.inference.files import find_videos

    rules = Rules(begin=args.begin, end=args.end, least=args.least, nothing=tuple(args.nothing))
    form = _form(args)
    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    if form == "vtt" and len(videos) != 1:
        raise ConfigError(f"WebVTT belongs to one video; {len(videos)} were named. Take --format csv or json")
    if args.output:
        try:
            open(args.output, "a").close()
        except OSError as error:
            raise ConfigError(f"{args.output}: cannot be written ({error.strerror})") from None
    recognizer = Recognizer.load(args.weights, device=args.device)
    rules.check(recognizer.class_names)
    if recognizer.header["licence"]:
        print(printable(f"{args.weights}: licence of the weights: {recognizer.header['licence']}"), file=sys.stderr)
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    failed, done = bool(problems), 0
    with _writer(form, args.output) as write:
        for video in videos:
            try:
                with _progress(video) as progress:
                    write(
                        timeline(
                            recognizer,
                            video,
                            spacing=args.every,
                            rules=rules,
                            span=args.span,
                            hop=args.hop,
                            progress=progress,
                        )
                    )
                done += 1
            except VideoError as error:
                failed = True
                print(printable(str(error)), file=sys.stderr)
            except KeyboardInterrupt:
                print(f"stopped after {done} of {len(videos)} videos; their events are written", file=sys.stderr)
                return 130
    return int(failed)


def _form(args: argparse.Namespace) -> str:
    asked = {form for form in (args.format, "json" if args.json else None) if form}
    if len(asked) > 1:
        raise ConfigError(f"--json and --format {args.format} ask for two forms: take one")
    suffix = Path(args.output or "").suffix.lower().removeprefix(".")
    return asked.pop() if asked else suffix if suffix in FORMS else "table"


@contextmanager
def _progress(video: str) -> Iterator[Callable[[float], object] | None]:
    """Gives what is told the second reached; on a terminal it shows it, and the speed against real time."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from teinet.data.decode import probe

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(Path(video).name), total=probe(video).duration, speed="")
        began = time.monotonic()

        def reached(second: float) -> None:
            took = max(time.monotonic() - began, 1e-6)
            bar.update(task, completed=second, speed=f"{second:.0f} s, {second / took:.1f} times real time")

        yield reached


@contextmanager
def _writer(form: str, output: str | None) -> Iterator[Callable[[Timeline], None]]:
    """Gives what writes the timeline of one video; all but JSON are written as they come."""
    opened = nullcontext(sys.stdout)
    if output:
        opened = open(output, "w", encoding="utf-8", errors="surrogateescape", newline="")
    with opened as file:
        if form == "json":
            found: list[dict] = []
            try:
                yield lambda timeline: found.append(timeline.to_dict())
            finally:
                json.dump(found, file, indent=2, allow_nan=False)
                file.write("\n")
            return
        if form == "csv":
            csv.writer(file, lineterminator="\n").writerow(CSV_COLUMNS)

        def write(timeline: Timeline) -> None:
            {"csv": write_csv, "vtt": write_vtt, "table": write_table}[form](timeline, file)
            file.flush()

        yield write


def write_csv(timeline: Timeline, file: IO[str]) -> None:
    """Write a row for each event."""
    csv.writer(file, lineterminator="\n").writerows(
        (printable(timeline.path), f"{e.start:.3f}", f"{e.end:.3f}", e.label, f"{e.score:.4f}", f"{e.peak:.4f}")
        for e in timeline.events
    )


def write_vtt(timeline: Timeline, file: IO[str]) -> None:
    """Write WebVTT, which players show as subtitles (https://www.w3.org/TR/webvtt1/)."""
    file.write("WEBVTT\n")
    for event in timeline.events:
        end = max(event.end, event.start + 0.001)  # a cue must last
        text = event.label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        file.write(f"\n{clock(event.start)} --> {clock(end)}\n{text} {100 * event.score:.0f} %\n")


def write_table(timeline: Timeline, file: IO[str]) -> None:
    """Write a video's name and a line for each event."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, soft_wrap=True)
    last = f"   {clock(float(timeline.times[-1]))}" if len(timeline.times) else ""
    console.print(Text(printable(timeline.path), style="bold").append(last, style="not bold dim"))
    if not timeline.events:
        console.print(Text("  nothing happens", style="dim"))
    for event in timeline.events:
        line = Text(f"  {clock(event.start)} - {clock(event.end)}", style="cyan")
        console.print(line.append(f"  {100 * event.score:5.1f} %  ", style="default").append(event.label, style="bold"))
    console.print()


def clock(second: float) -> str:
    """Hours, minutes, seconds and milliseconds: 00:01:02.500."""
    whole = round(max(second, 0.0) * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"
