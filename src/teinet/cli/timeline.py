"""`teinet timeline`: what happens when in long recordings."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.optimize import add_optimize_option
from teinet.cli.places import keep_apart
from teinet.cli.rules import add_rules, read_rules
from teinet.cli.timeline_output import FORMS, Output, Pages, files_for, results_folder, write_scores, write_subtitles
from teinet.cli.truth import Truth, add_truth
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from teinet.detection.recording import Timeline
    from teinet.detection.result_cache import ResultCache
    from teinet.recognition.recognizer import Engine, Recognizer

_SUBTITLES = (".vtt",)
_SCORES = (".npz", ".csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "weights", help="a run's folder (its last weights), a .safetensors file, or a shipped recogniser's name"
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="files, folders and all in them, patterns")
    add_rules(parser)
    parser.add_argument(
        "--span",
        type=int,
        default=None,
        help="causal networks, from frame to frame: frames that a score averages over (default: T)",
    )
    parser.add_argument(
        "--hop", type=int, default=None, help="windows: frames from one to the next, at most T (default: T/2)"
    )
    parser.add_argument(
        "--windows",
        action="store_true",
        help="causal networks: look at overlapping windows of T frames, as two-sided ones do",
    )
    parser.add_argument("--format", choices=FORMS, default=None, help="default: table, or what --output's suffix says")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "--output",
        default=None,
        metavar="FILE|FOLDER",
        help="write to this file (.json, .csv, .vtt or text); with --format vtt, for several videos, a folder",
    )
    parser.add_argument(
        "--page",
        default=None,
        metavar="FILE.html|FOLDER/",
        help="a page with pictures, scores and events over time; in a folder one for each video, and an index",
    )
    parser.add_argument(
        "--scores",
        default=None,
        metavar="FILE|FOLDER",
        help="write the scores themselves: FILE.npz or FILE.csv, or a .npz for each video into a folder",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="videos at a time, in as many processes (default: 1)"
    )
    parser.add_argument(
        "--anew", action="store_true", help="start over where an interrupted command would continue (--output, --page)"
    )
    add_truth(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_optimize_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look through the videos and print what happens; returns 0, 1 when some video could not be read, 130 by Ctrl-C.

    Raises:
        TeinetError: unusable weights or arguments, before any video is looked at.
    """
    from teinet.detection.recordings import timelines
    from teinet.detection.sampler import FrameSampler, interval_for
    from teinet.detection.scorer import uses_windows
    from teinet.recognition import Recognizer
    from teinet.recognition.find_videos import find_videos
    from teinet.utils.signals import StopSignal

    rules, form = read_rules(args), _form(args)
    if args.jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {args.jobs}")
    if args.anew and not (args.output or args.page):
        raise ConfigError("--anew is for what continues after a stop, and nothing does without --output or --page")
    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    outputs = {"--output": args.output, "--page": args.page, "--scores": args.scores}
    keep_apart(outputs, [*videos, *([args.truth] if args.truth else []), args.weights])
    takers: list[Callable[[int, Timeline], object]] = []
    into_folder = bool(args.output) and (args.output.endswith("/") or Path(args.output).is_dir())
    if form == "vtt" and (len(videos) > 1 or into_folder):  # a file for each; the table is printed
        takers.append(_writing("--output", args.output or "", videos, _SUBTITLES, write_subtitles))
        form, output_path = "table", None
    else:
        output_path = args.output
    if args.scores:
        takers.append(_writing("--scores", args.scores, videos, _SCORES, write_scores))
    pages = Pages(args.page, videos, str(args.weights)) if args.page else None

    recognizer = Recognizer.load(args.weights, device=args.device)
    rules = rules.filled(recognizer.nothing)
    rules.check(recognizer.class_names)
    spacing = FrameSampler(interval_for(recognizer, args.every)).interval  # which checks it
    options = {"spacing": spacing, "span": args.span, "hop": args.hop, "windows": args.windows}
    uses_windows(recognizer, span=args.span, hop=args.hop, windows=args.windows)  # which checks them
    options["strip"] = pages is not None
    if licence := recognizer.header["licence"]:
        _say(f"{args.weights}: licence of the weights: {licence}")
    _say(*problems)
    truth = Truth(args.truth, videos, recognizer, rules) if args.truth else None
    output = Output(output_path, form, truth)
    cache = _cache(args, recognizer, videos, options | {"optimize": args.optimize})
    if pages is not None:
        pages.describe(recognizer, rules)
        takers.append(pages.take)
    if truth is not None:
        takers.append(truth.take)
    if args.jobs > 1:
        make = partial(_load, args.weights, args.device, args.optimize)
    else:
        make = partial(_optimized, recognizer, args.optimize)

    done, failed = 0, bool(problems)
    try:
        with StopSignal() as stop, _progress(videos) as (reached, ended), output.opened():
            answers = timelines(
                make, videos, jobs=args.jobs, cache=cache, rules=rules, stop=stop, reached=reached, **options
            )
            for number, answer in answers:
                ended(number)
                if isinstance(answer, VideoError):
                    failed = True
                    _say(str(answer))
                    if pages is not None:
                        pages.fail(number, answer)
                    continue
                if answer.trouble:
                    _say(f"{answer.path}: {answer.trouble}")
                output.write(answer)
                for take in takers:
                    take(number, answer)
                done += 1
    except Interrupted:
        where = "written" if output.growing is None else f"in {output.growing}"
        events = f"; their events are {where}" if done else ""
        rest = "; the same command continues with the others" if cache is not None else ""
        _say(f"stopped after {done} of {len(videos)} videos{events}{rest}")
        return 130
    if cache is not None:
        cache.clear(videos)
    return int(failed)


def _form(args: argparse.Namespace) -> str:
    asked = {form for form in (args.format, "json" if args.json else None) if form}
    if len(asked) > 1:
        raise ConfigError(f"--json and --format {args.format} ask for two forms: take one")
    suffix = Path(args.output or "").suffix.lower().removeprefix(".")
    return asked.pop() if asked else suffix if suffix in FORMS else "table"


def _writing(
    option: str, path: str, videos: Sequence[Path], suffixes: Sequence[str], write: Callable[[Timeline, Path], object]
) -> Callable[[int, Timeline], object]:
    files = files_for(option, path, videos, suffixes)
    return lambda number, timeline: write(timeline, files[number])


def _cache(
    args: argparse.Namespace, recognizer: Recognizer, videos: Sequence[Path], settings: dict[str, object]
) -> ResultCache | None:
    """What keeps the results until all videos are done; it is asked now whether it belongs to this command."""
    from teinet.detection.result_cache import ResultCache

    folder = results_folder(args.output or args.page)
    if folder is None:
        return None
    cache = ResultCache(folder, recognizer, settings)
    if args.anew:
        cache.clear(videos)
    for video in videos:
        cache.holds(video)
    return cache


def _load(weights: str, device: str, engine: Engine | None) -> Recognizer:
    """What each worker process calls."""
    from teinet.recognition import Recognizer

    return _optimized(Recognizer.load(weights, device=device), engine)


def _optimized(recognizer: Recognizer, engine: Engine | None) -> Recognizer:
    return recognizer if engine is None else recognizer.optimize(engine=engine)


def _say(*lines: str) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)


@contextmanager
def _progress(videos: Sequence[Path]) -> Iterator[tuple[Callable[[int, float], object], Callable[[int], object]]]:
    """Show a bar for each recording on a terminal; gives what to call with the second reached, and at the end."""
    from rich.console import Console

    from teinet.data.video.reader import VideoReader
    from teinet.utils.progress import ProgressBars, ProgressTask

    if not sys.stderr.isatty():
        yield lambda number, second: None, lambda number: None
        return
    tasks: dict[int, ProgressTask] = {}

    def reached(number: int, second: float) -> None:
        if number not in tasks:
            video = videos[number]
            tasks[number] = bars.task(printable(video.name), VideoReader(video).stated_length, unit="s")
        tasks[number].update(second)

    def ended(number: int) -> None:
        if number in tasks:
            tasks[number].remove()

    with ProgressBars(Console(stderr=True)) as bars:
        yield reached, ended
