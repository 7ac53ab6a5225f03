"""`teinet timeline`: what happens when in long recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.optimize import add_optimize_option
from teinet.cli.places import keep_apart
from teinet.cli.rules import add_rules, read_rules
from teinet.cli.timeline.forms import FORMS, check_place, is_one_file, write_scores, write_subtitles, writer
from teinet.cli.timeline.output import Output, partial_folder
from teinet.cli.timeline.progress import shown
from teinet.cli.truth import Truth, add_truth
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from teinet.detection.timeline import Timeline

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
        "--anew", action="store_true", help="begin anew where an interrupted command would go on (--output, --page)"
    )
    add_truth(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add_optimize_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look through the videos and print what happens; returns 0, 1 when some video could not be read, 130 by Ctrl-C.

    Raises:
        TeinetError: unusable weights or arguments, before any video is looked at.
    """
    from teinet.cli.timeline.pages import Pages
    from teinet.detection.look import Look, look_through
    from teinet.detection.pace import spacing_for
    from teinet.detection.result_cache import ResultCache
    from teinet.detection.rows import check_rows
    from teinet.recognition import Recognizer
    from teinet.recognition.files import find_videos
    from teinet.utils.signals import stop_on_signal

    rules = read_rules(args)
    form = _form(args)
    if args.jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {args.jobs}")
    if args.anew and not (args.output or args.page):
        raise ConfigError(
            "--anew is for what goes on where it was stopped, and nothing does without --output or --page"
        )
    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    takers: list[Callable[[int, Timeline], None]] = []
    outputs = {"--output": args.output, "--page": args.page, "--scores": args.scores}
    keep_apart(outputs, [*videos, *([args.truth] if args.truth else []), args.weights])
    into_folder = bool(args.output) and (args.output.endswith("/") or Path(args.output).is_dir())
    if form == "vtt" and (len(videos) > 1 or into_folder):  # a file for each; the table is printed beside them
        check_place("--output", args.output or "", videos, _SUBTITLES)
        takers.append(_each_to(args.output, videos, _SUBTITLES, write_subtitles))
        form, output = "table", Output(None)
    else:
        output = Output(args.output)
    if args.scores:
        check_place("--scores", args.scores, videos, _SCORES)
        takers.append(_each_to(args.scores, videos, _SCORES, write_scores))
    pages = Pages(args.page, videos, str(args.weights)) if args.page else None
    recognizer = Recognizer.load(args.weights, device=args.device)
    rules = rules.filled(recognizer.nothing)
    rules.check(recognizer.class_names)
    check_rows(recognizer, span=args.span, hop=args.hop, windows=args.windows)
    if pages is not None:
        pages.describe(recognizer, rules)
    if recognizer.header["licence"]:
        print(printable(f"{args.weights}: licence of the weights: {recognizer.header['licence']}"), file=sys.stderr)
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    truth = Truth(args.truth, videos, recognizer, rules) if args.truth else None
    look = Look(
        weights=str(args.weights),
        device=args.device,
        engine=args.optimize,
        spacing=args.every,
        rules=rules,
        span=args.span,
        hop=args.hop,
        windows=args.windows,
        strip=pages is not None,
    )
    folder = partial_folder(args.output or args.page)
    cache = None
    if folder is not None:
        settings = {"spacing": spacing_for(recognizer, args.every), "span": args.span, "hop": args.hop}
        settings |= {"windows": args.windows, "pictures": pages is not None, "optimize": args.optimize}
        cache = ResultCache(folder, recognizer, settings)
        if args.anew:
            cache.clear(videos)
    if pages is not None:
        takers.append(pages.take)
    if truth is not None:
        takers.append(truth.take)
    done, failed = 0, bool(problems)
    try:
        with stop_on_signal() as stop, shown(videos) as progress, writer(form, output, truth) as write:
            answers = look_through(
                look, recognizer, videos, jobs=args.jobs, cache=cache, stop=stop, reached=progress.reached
            )
            for number, answer in answers:
                progress.ended(number)
                if isinstance(answer, VideoError):
                    failed = True
                    print(printable(str(answer)), file=sys.stderr)
                    if pages is not None:
                        pages.fail(number, answer)
                    continue
                if answer.trouble:
                    print(printable(f"{answer.path}: {answer.trouble}"), file=sys.stderr)
                write(answer)
                for take in takers:
                    take(number, answer)
                done += 1
    except Interrupted:
        where = "written" if output.growing is None else f"in {output.growing}"
        events = f"; their events are {where}" if done else ""
        on = "; the same command goes on with the others" if cache is not None else ""
        print(printable(f"stopped after {done} of {len(videos)} videos{events}{on}"), file=sys.stderr)
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


def _each_to(
    path: str, videos: Sequence[Path], suffixes: Sequence[str], write: Callable[[Timeline, Path], None]
) -> Callable[[int, Timeline], None]:
    """What writes a file for each video: `path` where it has one of the suffixes, else inside it, with the first."""
    from teinet.pages.recording import page_names

    if is_one_file(path, suffixes):
        return lambda number, timeline: write(timeline, Path(path))
    names = [Path(path) / f"{name.removesuffix('.html')}{suffixes[0]}" for name in page_names(videos)]
    return lambda number, timeline: write(timeline, names[number])
