"""`teinet predict`: recognize the action in video files."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from teinet.cli import options
from teinet.errors import ConfigError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.models.header import Pretrained
    from teinet.recognition import Prediction

CSV_COLUMNS = ("path", "rank", "label", "score", "num_frames", "start", "end", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.usage = "%(prog)s WEIGHTS VIDEO... [options]\n       %(prog)s --weights NAME VIDEO... [options]"
    add = parser.add_argument
    add(
        "words",
        nargs="+",
        metavar="VIDEO",
        help="files, folders and all in them, patterns like 'more/*.webm'; before them, unless --weights names it, a "
        "run's folder (its last weights) or a .safetensors file",
    )
    add("--weights", metavar="NAME", help="a recognizer that comes with the library, or a file as above")
    add("--top-k", type=int, default=5, help="how many classes to name (default: 5)")
    add("--views", default="1x1", help="clips x crops to look at: 1x1 is quick, 10x3 is thorough")
    add("--start", type=float, help="look at the video from this second on")
    add("--end", type=float, help="look at the video up to this second")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON list, with frame numbers, times, errors")
    form.add_argument("--csv", action="store_true", help="print a row for each video and class")
    add("--output", help="write to this file (.json, .csv or text), not to the terminal")
    options.add_device(parser)
    options.add_optimize_option(parser)
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="of the optimized network (default: bf16 where the processor computes in it)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict and print; returns 0, 1 when some video could not be read, 130 when interrupted.

    Answers are written as they come (a JSON list at the end), and kept when the work stops early.
    Raises TeinetError for unusable weights or arguments, before any video is looked at.
    """
    weights, words = _weights(args)  # before torch is imported: that there are none is said at once
    from rich.console import Console

    from teinet.recognition.find_videos import find_videos
    from teinet.utils.progress import file_progress

    problems: list[str] = []
    videos = find_videos(words, problems)
    if args.output:
        options.check_output(args.output, [*videos, weights])
    if args.precision and not args.optimize:
        raise ConfigError("--precision belongs to --optimize")
    recognizer = options.load_recognizer(weights, args)
    answers = recognizer.predict_many(videos, top_k=args.top_k, views=args.views, start=args.start, end=args.end)
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    done, failed = 0, 0
    console = Console(stderr=True) if len(videos) > 1 else None
    with file_progress(console, "recognizing", len(videos)) as advance, _writer(args) as write:
        try:
            for answer in answers:
                write(answer)
                advance("")
                done += 1
                failed += answer.error is not None
        except KeyboardInterrupt:
            print(f"stopped after {done} of {len(videos)} videos; their answers are written", file=sys.stderr)
            return 130
    if failed:
        print(f"no answer for {failed} of {len(videos)} videos; the reason stands in its place", file=sys.stderr)
    return int(failed > 0 or bool(problems))


def _weights(args: argparse.Namespace) -> tuple[str, list[str]]:
    """The weights, and the videos; it is an error where either was not named."""
    from teinet.models.header import LAST, list_pretrained, pretrained_file

    if args.weights is not None:
        return args.weights, args.words
    first, videos = args.words[0], args.words[1:]
    path = Path(first)
    if path.suffix == ".safetensors" or (path / LAST).is_file() or (not path.exists() and pretrained_file(first)):
        if not videos:
            raise ConfigError(f"{first} are weights; name the videos behind them")
        return first, videos
    if videos and not path.is_file():  # loading says what is wrong with it
        return first, videos
    pretrained = list_pretrained()
    _print_pretrained(pretrained)
    raise ConfigError(
        "no weights named; put a run's folder or a .safetensors file before the videos"
        + (", or take one of the recognizers above" if pretrained else "")
    )


def _print_pretrained(pretrained: Sequence[Pretrained]) -> None:
    """What comes with the library: name, what it tells apart, how well, and what it is not for."""
    from rich.console import Console
    from rich.table import Table

    title = "Recognizers that come with the library:" if pretrained else None
    table = Table(box=None, show_header=False, padding=(0, 2, 1, 0), title=title, title_justify="left")
    table.add_column(no_wrap=True)
    for each in pretrained:
        table.add_row(each.name, each.summary)
    Console(stderr=True, highlight=False, markup=False).print(table)


@contextmanager
def _writer(args: argparse.Namespace) -> Iterator[Callable[[Prediction], None]]:
    """Give what writes one answer, in the form that was asked for."""
    suffix = Path(args.output or "").suffix.lower()
    as_json = args.json or (suffix == ".json" and not args.csv)
    as_csv = args.csv or (suffix == ".csv" and not args.json)
    opened = nullcontext(sys.stdout)
    if args.output:
        opened = open(args.output, "w", encoding="utf-8", errors="surrogateescape", newline="")
    with opened as file:
        if as_json:
            answers: list[dict[str, Any]] = []
            try:
                yield lambda answer: answers.append(answer.to_dict())
            finally:
                # ASCII, so that neither the terminal's encoding nor file names that are not UTF-8 can break it
                json.dump(answers, file, indent=2, allow_nan=False)
                file.write("\n")
            return
        rows = csv.writer(file, lineterminator="\n")
        if as_csv:
            rows.writerow(CSV_COLUMNS)

        def write(answer: Prediction) -> None:
            if as_csv:
                rows.writerows(_rows(answer))
            else:
                _print_answer(answer, file)
            file.flush()

        yield write


def _rows(answer: Prediction) -> Iterator[tuple[Any, ...]]:
    start, end = (f"{second:.3f}" for second in answer.span) if answer.span else ("", "")
    path = printable(answer.path)
    if answer.error is not None:
        yield path, "", "", "", "", "", "", answer.error
    for rank, (name, score) in enumerate(answer.labels, start=1):
        yield path, rank, name, f"{score:.6f}", answer.num_frames, start, end, ""


def _print_answer(answer: Prediction, file: IO[str]) -> None:
    """Write a video's file, span and classes as lines, so that a narrow terminal cuts no name."""
    from rich.console import Console
    from rich.text import Text

    from teinet.evaluation.scores import bar

    console = Console(file=file, highlight=False, soft_wrap=True)
    title = Text(printable(answer.path), style="bold")  # Text: brackets in names would be read as markup
    if answer.span:
        title.append("   {:.2f} - {:.2f} s".format(*answer.span), style="not bold dim")
    console.print(title)
    if answer.error is not None:
        console.print(Text(f"  {answer.error}", style="red"))
    for rank, (name, score) in enumerate(answer.labels):
        line = Text("  ").append(f"{bar(score):<20}", style="cyan").append(f" {100 * score:5.1f} %  ")
        console.print(line.append(name, style="bold" if rank == 0 else ""))
    console.print()
