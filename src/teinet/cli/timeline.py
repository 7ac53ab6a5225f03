"""`teinet timeline`: find events in long recordings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli import options
from teinet.cli.timeline_output import FORMS, PAGES, Output, Pages, Truth, files_for, write_scores, write_subtitles
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.detection.recording import Timeline
    from teinet.detection.timeline_batch import Reached


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    options.add_weights(parser)
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="files, folders and all in them, patterns")
    options.add_rules(parser)
    add("--stride", type=int, metavar="FRAMES", help="windows: frames from one to the next, at most T (default: T/2)")
    add("--format", choices=FORMS, help="default: table, or what --output's suffix says")
    add("--json", action="store_true", help="the same as --format json")
    add(
        "--output",
        metavar="FILE|FOLDER",
        help="write to this file (.json, .csv, .vtt or text); with --format vtt, for several videos, a folder",
    )
    add(
        "--page",
        metavar="FILE.html|FOLDER/",
        help="a page with images, scores and events over time; in a folder one for each video, and an index",
    )
    add(
        "--scores",
        metavar="FILE|FOLDER",
        help="write the scores themselves: FILE.npz or FILE.csv, or a .npz for each video into a folder",
    )
    add("--jobs", type=int, default=1, metavar="N", help="videos at a time, in as many processes (default: 1)")
    add(
        "--overwrite",
        action="store_true",
        help="start over where an interrupted command would continue (--output, --page)",
    )
    add(
        "--truth",
        metavar="ANNOTATIONS.csv",
        help="what truly happens (path, start, end, label): measures how well it was found, by label and overall",
    )
    options.add_device(parser)
    options.add_optimize_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look through the videos and print their events; returns 0, 1 when some video could not be read, 130 by Ctrl-C.

    Raises TeinetError for unusable weights or arguments, before any video is looked at.
    """
    from teinet.detection.sampler import FrameSampler
    from teinet.detection.scorer import interval_for, uses_windows
    from teinet.detection.timeline_batch import ResultCache, timelines
    from teinet.models.header import weights_file
    from teinet.recognition.find_videos import find_videos
    from teinet.utils.files import digest
    from teinet.utils.signals import StopSignal

    args.weights = options.causal_form(args.weights, windows=args.windows or args.stride is not None)
    rules, form, output_path = options.read_rules(args), _form(args), args.output
    if args.jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {args.jobs}")
    if args.overwrite and not (args.output or args.page):
        raise ConfigError("--overwrite is for what continues after a stop, and nothing does without --output or --page")
    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    outputs = {"--output": args.output, "--page": args.page, "--scores": args.scores}
    options.keep_apart(outputs, [*videos, *([args.truth] if args.truth else []), args.weights])
    takers: list[Callable[[int, Timeline], object]] = []
    into_folder = bool(args.output) and (args.output.endswith("/") or Path(args.output).is_dir())
    if form == "vtt" and (len(videos) > 1 or into_folder):  # a file for each; the table is printed
        cues = files_for("--output", args.output or "", videos, (".vtt",))
        takers.append(lambda number, found: write_subtitles(found, cues[number]))
        form, output_path = "table", None
    if args.scores:
        scores = files_for("--scores", args.scores, videos, (".npz", ".csv"))
        takers.append(lambda number, found: write_scores(found, scores[number]))
    page_files = files_for("--page", args.page, videos, PAGES) if args.page else []

    recognizer = options.load_recognizer(args.weights, args)
    rules = rules.filled(recognizer.background)
    rules.check(recognizer.class_names)
    frame_interval = FrameSampler(interval_for(recognizer, args.frame_interval)).interval  # which checks it
    uses_windows(recognizer, smoothing=args.smoothing, stride=args.stride, windows=args.windows)  # which checks them
    how = {name: getattr(args, name) for name in ("smoothing", "stride", "windows")}
    how |= {"frame_interval": frame_interval, "strip": bool(args.page)}
    _say(*problems)
    truth = Truth(args.truth, videos, recognizer, rules) if args.truth else None
    pages = Pages(args.page, page_files, videos, str(args.weights), recognizer, rules) if args.page else None
    output, cache = Output(output_path, form, truth), None
    takers += [output.take, *(each.take for each in (pages, truth) if each is not None)]
    kept_for = args.output or args.page
    if kept_for and not options.is_special(kept_for):
        folder = Path(f"{os.path.abspath(kept_for)}.partial")
        weights = {"weights": digest(weights_file(args.weights)), "device": recognizer.device.type}
        cache = ResultCache(folder, how | weights | {"optimize": args.optimize})
        if args.overwrite:
            cache.clear()
        if kept := sum(map(cache.holds, videos)):
            _say(f"{kept} of {len(videos)} videos were finished before; continues with the others")
    make = partial(options.load_recognizer, args.weights, args, say=False) if args.jobs > 1 else lambda: recognizer

    done, failed = 0, bool(problems)
    try:
        with StopSignal() as stop, _progress(videos) as (reached, ended):
            found = timelines(make, videos, jobs=args.jobs, cache=cache, rules=rules, stop=stop, reached=reached, **how)
            for number, answer in found:
                ended()
                if isinstance(answer, VideoError):
                    failed = True
                    _say(str(answer))
                    if pages is not None:
                        pages.fail(number, answer)
                    continue
                if answer.trouble:
                    _say(f"{answer.path}: {answer.trouble}")
                for take in takers:
                    take(number, answer)
                done += 1
    except Interrupted:
        output.close(stopped=True)
        rest = "; the same command continues with the others" if cache is not None else ""
        _say(f"stopped after {done} of {len(videos)} videos{rest}")
        return 130
    output.close()
    if cache is not None:
        cache.clear()
    if done:
        _say(*(f"{option}: {path} is written" for option, path in outputs.items() if path))
    return int(failed)


def _form(args: argparse.Namespace) -> str:
    asked = {form for form in (args.format, "json" if args.json else None) if form}
    if len(asked) > 1:
        raise ConfigError(f"--json and --format {args.format} ask for two forms: take one")
    suffix = Path(args.output or "").suffix.lower().removeprefix(".")
    return asked.pop() if asked else suffix if suffix in FORMS else "table"


def _say(*lines: str) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)


@contextmanager
def _progress(videos: Sequence[Path]) -> Iterator[tuple[Reached, Callable[[], object]]]:
    """Show on a terminal how many videos are done and how far one is; give what to call as it goes, and after each."""
    from rich.console import Console

    from teinet.data.video.reader import VideoReader
    from teinet.utils.progress import ProgressBars, ProgressTask

    if not sys.stderr.isatty():
        yield lambda number, second: None, lambda: None
        return
    shown: dict[int, ProgressTask] = {}

    def reached(number: int, second: float) -> None:
        if number not in shown:
            ended()
            video = videos[number]
            shown[number] = bars.task(printable(video.name), VideoReader(video).stated_length, unit="s")
        shown[number].update(second)

    def ended() -> None:
        while shown:
            shown.popitem()[1].remove()

    with ProgressBars(Console(stderr=True)) as bars:
        every = bars.task("videos", len(videos), unit="videos")
        yield reached, lambda: (ended(), every.advance())
