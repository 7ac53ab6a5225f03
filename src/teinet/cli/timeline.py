"""`teinet timeline`: find events in long recordings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from teinet.cli import options
from teinet.cli.bulk import RayOption, run_bulk
from teinet.cli.parser import ADVANCED, option, positional
from teinet.cli.timeline_output import PAGES, Output, Pages, Truth, files_for, write_scores, write_subtitles
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, check_max_damaged
from teinet.errors import Interrupted, VideoError
from teinet.utils.machine import check_device
from teinet.utils.text import count, printable

if TYPE_CHECKING:
    from teinet.detection.events import Rules
    from teinet.detection.recording import Timeline
    from teinet.detection.timeline_batch import Reached
    from teinet.scale import Summary
    from teinet.scale.ray_job import Advance

_FORMS = {".json": "json", ".csv": "csv", ".vtt": "vtt", ".txt": "table"}


@dataclass(kw_only=True)
class TimelineOptions(RayOption, options.EngineOptions, options.EventOptions, options.WeightsArgument):
    """Find events in long recordings.

    teinet timeline fights long.mp4                       print events
    teinet timeline fights long.mp4 --threshold 0.7 --page long.html
    teinet timeline runs/first folder/ --output events.csv --workers 2
    teinet timeline runs/first folder/ --ray local --output events/   a large collection
    """

    videos: list[str] = positional("files, folders and all in them, patterns", metavar="VIDEO")
    output: str | None = option(
        "write to this file (.json, .csv, .vtt or .txt); with --output-format vtt, for several videos, a folder",
        metavar="FILE|FOLDER",
    )
    page: str | None = option(
        "a page with images, scores and events over time; in a folder one for each video, and an index",
        metavar="FILE.html|FOLDER/",
    )
    output_format: Literal["table", "json", "csv", "vtt"] | None = option("default: table, or by --output's suffix")
    overwrite: bool = option(options.OVERWRITE, default=False)
    json: bool = option("print JSON", default=False)
    stride: int | None = option(
        "windows: frames from one to the next, at most T (default: T/2)", metavar="FRAMES", group=ADVANCED
    )
    scores: str | None = option(
        "write the scores themselves: FILE.npz or FILE.csv, or a .npz for each video into a folder",
        metavar="FILE|FOLDER",
        group=ADVANCED,
    )
    truth: str | None = option(
        "annotations (path, start, end, label): measure how well events were found", metavar="FILE.csv", group=ADVANCED
    )
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED, group=ADVANCED)
    workers: int | None = option(
        "videos at a time, in as many processes (default: 1; with --ray one for each GPU or core)", group=ADVANCED
    )


def run(args: TimelineOptions) -> int:
    """Process the videos and print their events; return 0, 1 when some video could not be read, 130 by Ctrl-C.

    Raises TeinetError for unusable weights or arguments, before any video is looked at.
    """
    form, output_path = "parquet" if args.ray else options.output_form(args, _FORMS), args.output
    options.check_range(args, workers=1)
    check_max_damaged(args.max_damaged, "--max-damaged")
    rules = args.rules()
    args.weights = options.causal_form(args.weights, windows=args.windows or args.stride is not None)
    options.check_weights(args.weights, multi_label=False)
    check_device(args.device)
    if args.ray:
        return _run_on_ray(args, rules)
    from teinet.data.find_videos import find_videos

    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    from teinet.detection.sampler import FrameSampler
    from teinet.detection.scorer import interval_for, uses_windows
    from teinet.detection.timeline_batch import ResultCache, timelines
    from teinet.models.header import weights_file
    from teinet.utils.files import digest
    from teinet.utils.signals import StopSignal

    outputs = {"--output": args.output, "--page": args.page, "--scores": args.scores}
    options.keep_apart(outputs, [*videos, *([args.truth] if args.truth else []), args.weights])
    takers: list[Callable[[int, Timeline], object]] = []
    cues, scores = [], []
    into_folder = bool(args.output) and (args.output.endswith("/") or Path(args.output).is_dir())
    if form == "vtt" and (len(videos) > 1 or into_folder):  # a file for each; the table is printed
        cues = files_for("--output", args.output or "", videos, (".vtt",))
        takers.append(lambda number, found: write_subtitles(found, cues[number]))
        form, output_path = "table", None
    if args.scores:
        scores = files_for("--scores", args.scores, videos, (".npz", ".csv"))
        takers.append(lambda number, found: write_scores(found, scores[number]))
    page_files = files_for("--page", args.page, videos, PAGES) if args.page else []
    kept_for = args.output or args.page
    unfinished = Path(f"{os.path.abspath(kept_for)}.partial") if kept_for and not options.is_special(kept_for) else None
    if unfinished is None or not unfinished.exists():  # else it continues, and these files are its own
        options.keep_existing([*filter(None, outputs.values()), *cues, *scores, *page_files], overwrite=args.overwrite)

    recognizer = options.load_recognizer(args.weights, args)
    rules = rules.filled(recognizer.background)
    rules.check(recognizer.class_names)
    frame_interval = FrameSampler(interval_for(recognizer, args.frame_interval)).interval  # which checks it
    uses_windows(recognizer, smoothing=args.smoothing, stride=args.stride, windows=args.windows)  # which checks them
    how = {name: getattr(args, name) for name in ("smoothing", "stride", "windows")}
    how |= {"frame_interval": frame_interval, "strip": bool(args.page), "max_damaged": args.max_damaged}
    _print_lines(*problems)
    truth = Truth(args.truth, videos, recognizer, rules) if args.truth else None
    pages = Pages(args.page, page_files, videos, str(args.weights), recognizer, rules) if args.page else None
    output, cache = Output(output_path, form, truth), None
    takers += [output.take, *(each.take for each in (pages, truth) if each is not None)]
    if unfinished is not None:
        weights = {"weights": digest(weights_file(args.weights)), "device": recognizer.device.type}
        cache = ResultCache(unfinished, how | weights | {"engine": args.engine, "precision": args.precision})
        if args.overwrite:
            cache.clear()
        if kept := sum(map(cache.holds, videos)):
            _print_lines(f"finished before: {kept} of {count(len(videos), 'video')}; continues with the others")
    workers = args.workers or 1
    make = partial(options.load_recognizer, args.weights, args) if workers > 1 else lambda: recognizer

    done, failed = 0, bool(problems)
    try:
        with StopSignal() as stop, _progress(videos) as (reached, ended):
            found = timelines(
                make, videos, workers=workers, cache=cache, rules=rules, stop=stop, reached=reached, **how
            )
            for number, answer in found:
                ended()
                if isinstance(answer, VideoError):
                    failed = True
                    _print_lines(str(answer))
                    if pages is not None:
                        pages.fail(number, answer)
                    continue
                if answer.trouble:
                    _print_lines(f"{answer.path}: {answer.trouble}")
                for take in takers:
                    take(number, answer)
                done += 1
    except Interrupted:
        output.close(stopped=True)
        same = "the same command" + (" without --overwrite" if args.overwrite else "")
        rest = f"; {same} continues with the others" if unfinished is not None and unfinished.exists() else ""
        _print_lines(f"stopped after {done} of {count(len(videos), 'video')}{rest}")
        return 130
    output.close()
    if cache is not None:
        cache.clear()
    if done:
        _print_lines(*(f"wrote {path}" for path in outputs.values() if path))
    return int(failed)


def _run_on_ray(args: TimelineOptions, rules: Rules) -> int:
    from teinet.scale import timeline_dataset

    scoring = ("frame_interval", "smoothing", "stride", "windows", "max_damaged")
    same = (*scoring, "ray", "device", "engine", "precision", "workers", "overwrite")
    how: dict[str, Any] = {name: getattr(args, name) for name in same}

    def job(advance: Advance) -> Summary:
        return timeline_dataset(args.weights, args.videos, args.output or "", rules=rules, **how, advance=advance)

    return run_bulk(args, ("page", "scores", "truth", "output_format"), job)


def _print_lines(*lines: str) -> None:
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
