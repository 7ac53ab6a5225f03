"""`teinet predict`: recognize the action in video files."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from teinet.cli import options
from teinet.cli.bulk import RayOption, run_bulk
from teinet.cli.parser import ADVANCED, option, positional
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, check_max_damaged
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.utils.files import replacing
from teinet.utils.machine import check_device
from teinet.utils.text import count, printable

if TYPE_CHECKING:
    from teinet.recognition import Prediction, Recognizer
    from teinet.scale import Summary
    from teinet.scale.ray_job import Advance

CSV_COLUMNS = ("path", "rank", "label", "score", "num_frames", "start", "end", "error")
_FORMS = {".json": "json", ".csv": "csv", ".txt": "table"}


@dataclass(kw_only=True)
class PredictOptions(RayOption, options.EngineOptions, options.WeightsArgument):
    """Recognize the action in video files.

    teinet predict fights clip.mp4                       a pretrained model (teinet models)
    teinet predict runs/first clip.mp4 folder/ '*.webm'  a run of teinet train; files, folders
    teinet predict runs/first folder/ --output answers.csv
    teinet predict runs/first clips.parquet --ray local --output scores/   a large collection
    """

    videos: list[str] = positional("files, folders and all in them, patterns like 'more/*.webm'", metavar="VIDEO")
    top_k: int = option("classes to print; with several labels for a clip, all that it has are", default=5)
    min_score: str | None = option(
        "score below which a clip shows none of the classes: 0 to 1, or calibrated (teinet test --calibrate)",
        metavar="X",
    )
    views: str = option("clips x crops to look at: 1x1 is quick, 10x3 thorough", default="1x1")
    start: float | None = option("first second of the video to look at", metavar="SECONDS")
    end: float | None = option("last second of the video to look at", metavar="SECONDS")
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED, group=ADVANCED)
    output: str | None = option("write to this .json, .csv or .txt file instead of the terminal", metavar="FILE")
    output_format: Literal["table", "json", "csv"] | None = option("default: table, or by --output's suffix")
    overwrite: bool = option(options.OVERWRITE, default=False)
    json: bool = option("print one JSON list, with frame numbers, times and errors", default=False)
    batch_size: int | None = option(
        "views in one pass of the network, of several videos together (default: those of one video)", group="device"
    )
    workers: int | None = option("threads that decode (default: one per core, at most 4)", group="device")


def run(args: PredictOptions) -> int:
    """Predict and print; return 0, 1 when some video could not be read, 130 when interrupted.

    Answers are printed as they come; a file gets its name at the end, with all answers so far if the work stops early.
    Raises TeinetError for unusable weights or arguments, before any video is looked at.
    """
    form = "parquet" if args.ray else options.output_form(args, _FORMS)
    options.check_range(args, top_k=1, batch_size=1, workers=1)
    options.check_weights(args.weights)
    check_max_damaged(args.max_damaged, "--max-damaged")
    Views.parse(args.views)
    check_device(args.device)
    if args.start is not None and args.end is not None and args.start >= args.end:
        raise ConfigError(f"--start is {args.start:g} and --end {args.end:g}; the start must come first")
    if args.ray:
        return _run_on_ray(args)
    from rich.console import Console

    from teinet.data.find_videos import find_videos
    from teinet.utils.progress import file_progress

    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    if args.output:
        options.check_output(args.output, [*videos, args.weights], overwrite=args.overwrite)
    recognizer = options.load_recognizer(args.weights, args)
    recognizer.min_score = _min_score(args, recognizer)
    same = ("top_k", "views", "start", "end", "max_damaged", "batch_size", "workers")
    answers = recognizer.predict_many(videos, **{name: getattr(args, name) for name in same})
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    done, failed = 0, 0
    console = Console(stderr=True) if len(videos) > 1 else None
    with file_progress(console, "recognizing", len(videos)) as advance, _writer(args.output, form) as write:
        try:
            for answer in answers:
                write(answer)
                if answer.damage:
                    print(printable(f"{answer.path}: {answer.damage}"), file=sys.stderr)
                advance("")
                done += 1
                failed += answer.error is not None
        except KeyboardInterrupt:
            print(f"stopped after {done} of {count(len(videos), 'video')}; their answers are written", file=sys.stderr)
            return 130
    if failed:
        print(f"unreadable: {failed} of {count(len(videos), 'video')}; the output says why for each", file=sys.stderr)
    if args.output:
        print(printable(f"wrote {args.output} ({count(done, 'video')})"), file=sys.stderr)
    return int(failed > 0 or bool(problems))


def _run_on_ray(args: PredictOptions) -> int:
    from teinet.recognition import Recognizer
    from teinet.scale import predict_dataset

    same = ("ray", "views", "start", "end", "max_damaged", "device", "engine", "precision", "batch_size", "workers")
    how: dict[str, Any] = {name: getattr(args, name) for name in (*same, "overwrite")}
    if args.min_score is not None:
        how["min_score"] = _min_score(args, Recognizer.load(args.weights, device="cpu"))

    def job(advance: Advance) -> Summary:
        return predict_dataset(args.weights, args.videos, args.output or "", **how, advance=advance)

    return run_bulk(args, ("top_k", "output_format"), job)


def _min_score(args: PredictOptions, recognizer: Recognizer) -> float:
    if args.min_score is None:
        return 0.0
    if recognizer.multi_label:
        raise ConfigError(f"--min-score is for one class a clip; {args.weights} has a threshold for each class")
    if args.min_score == "calibrated":
        if recognizer.calibrated_min_score is None:
            raise ConfigError(
                f"{args.weights} is not calibrated: teinet test {args.weights} --calibrate FILE writes one"
            )
        return recognizer.calibrated_min_score
    try:
        value = float(args.min_score)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ConfigError(f"--min-score is {args.min_score}; it must be a number from 0 to 1, or calibrated")
    return value


@contextmanager
def _writer(output: str | None, form: str) -> Iterator[Callable[[Prediction], None]]:
    """Give a function that writes one answer, to the file `output` or standard output.

    The file gets its name at the end, with all answers so far, also if the work fails.
    """
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    answers: list[dict[str, Any]] = []
    failure: BaseException | None = None
    with ExitStack() as stack:
        file: IO[str] = sys.stdout
        if output:
            path = output if options.is_special(output) else stack.enter_context(replacing(os.path.realpath(output)))
            file = stack.enter_context(open(path, "w", **text))
        rows = csv.writer(file, lineterminator="\n")
        if form == "csv":
            rows.writerow(CSV_COLUMNS)

        def write(answer: Prediction) -> None:
            if form == "json":
                answers.append(answer.to_dict())
            elif form == "csv":
                rows.writerows(_rows(answer))
            else:
                _print_answer(answer, file)
            file.flush()

        try:
            yield write
        except BaseException as error:
            failure = error
        if form == "json":
            # ASCII, so that neither the terminal's encoding nor file names that are not UTF-8 can break it
            json.dump(answers, file, indent=2, allow_nan=False)
            file.write("\n")
    if failure is not None:
        raise failure


def _rows(answer: Prediction) -> Iterator[tuple[Any, ...]]:
    start, end = (f"{second:.3f}" for second in answer.span) if answer.span else ("", "")
    path = printable(answer.path)
    if answer.error is not None:
        yield path, "", "", "", "", "", "", answer.error
    elif (answer.thresholds and not answer.found) or answer.label is None:  # none of the classes
        yield path, "", "", "", answer.num_frames, start, end, ""
        return
    for rank, (name, score) in enumerate(answer.found if answer.thresholds else answer.labels, start=1):
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
    elif answer.label is None:
        console.print(f"  none of these: the best score is below {100 * answer.min_score:.1f} %", style="dim")
    shown = answer.labels if not answer.thresholds else answer.found or answer.labels[:1]
    for rank, (name, score) in enumerate(shown):
        line = Text("  ").append(f"{bar(score):<20}", style="cyan").append(f" {100 * score:5.1f} %  ")
        line.append(name, style="bold" if rank == 0 or answer.thresholds else "")
        if answer.thresholds and not answer.found:
            line.append(f"  below its threshold, {100 * answer.thresholds[0]:.1f} %", style="dim")
        console.print(line)
    console.print()
