"""The forms in which `teinet timeline` says what happens: a table, JSON, CSV, subtitles; and the scores themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from teinet.cli.places import check_file, make_folder
from teinet.errors import ConfigError, Interrupted
from teinet.utils.files import replacing
from teinet.utils.text import clock, printable

if TYPE_CHECKING:
    from teinet.cli.timeline.output import Output
    from teinet.cli.truth import Truth
    from teinet.detection.timeline import Timeline

FORMS = ("table", "json", "csv", "vtt")
CSV_COLUMNS = ("path", "start", "end", "label", "score", "peak")


@contextmanager
def writer(form: str, output: Output, truth: Truth | None = None) -> Iterator[Callable[[Timeline], None]]:
    """Gives what writes the timeline of one video; all but JSON are written as they come, measures at the end.

    `Interrupted` inside the block is an end too: what is there is written, and it is raised again.
    """
    with output.opened() as file:
        found: list[dict] = []
        if form == "csv":
            csv.writer(file, lineterminator="\n").writerow(CSV_COLUMNS)
        elif form == "vtt":
            file.write("WEBVTT\n")  # which the file must begin with, also without a cue

        def write(timeline: Timeline) -> None:
            output.written = True
            if form == "json":
                found.append(timeline.to_dict())
            else:
                {"csv": write_csv, "vtt": write_vtt, "table": write_table}[form](timeline, file)
                file.flush()

        stopped: Interrupted | None = None
        try:
            yield write
        except Interrupted as error:
            stopped = error
        if form == "json":
            json.dump(truth.beside(found) if truth else found, file, indent=2, allow_nan=False)
            file.write("\n")
        elif truth is not None:
            truth.write(form, file)
        if stopped is not None:
            raise stopped


def write_csv(timeline: Timeline, file: IO[str]) -> None:
    """Write a row for each event."""
    csv.writer(file, lineterminator="\n").writerows(
        (printable(timeline.path), f"{e.start:.3f}", f"{e.end:.3f}", e.label, f"{e.score:.4f}", f"{e.peak:.4f}")
        for e in timeline.events
    )


def write_vtt(timeline: Timeline, file: IO[str]) -> None:
    """Write the cues of WebVTT, which players show as subtitles (https://www.w3.org/TR/webvtt1/), by their start."""
    for event in sorted(timeline.events, key=lambda event: event.start):  # times may have run backwards
        end = max(event.end, event.start + 0.001)  # a cue must last
        text = " ".join(printable(event.label).split())  # an empty line would end the cue
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        file.write(f"\n{clock(event.start)} --> {clock(end)}\n{text} {100 * event.score:.0f} %\n")


def write_table(timeline: Timeline, file: IO[str]) -> None:
    """Write a video's name and a line for each event."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, soft_wrap=True)
    last = f"   {clock(timeline.end)}" if len(timeline.times) else ""
    console.print(Text(printable(timeline.path), style="bold").append(last, style="not bold dim"))
    if not timeline.events:
        console.print(Text("  nothing happens", style="dim"))
    for event in timeline.events:
        line = Text(f"  {clock(event.start)} - {clock(event.end)}", style="cyan")
        console.print(
            line.append(f"  {100 * event.score:5.1f} %  ", style="default").append(printable(event.label), style="bold")
        )
    console.print()


def check_place(option: str, path: str, videos: Sequence[Path], suffixes: Sequence[str]) -> None:
    """See that an option's path takes a file for each video: a file by its suffix, or a folder, which is made.

    Raises:
        ConfigError: one file for several videos, or what cannot be made or written.
    """
    other = Path(path).suffix
    if other and not path.endswith("/") and not Path(path).is_dir() and not is_one_file(path, suffixes):
        raise ConfigError(f"{option} {path} ends in {other}, not in {' or '.join(suffixes)}; a folder ends in /")
    if not path or is_one_file(path, suffixes):
        if len(videos) != 1:
            named = f"{option} {path}".strip()
            raise ConfigError(f"{named} holds one video's; {len(videos)} were named. Name a folder: {option} FOLDER/")
        make_folder(Path(path).parent, path)
        check_file(path)
    else:
        make_folder(Path(path), path)


def is_one_file(path: str, suffixes: Sequence[str]) -> bool:
    """Whether an option's path is that of a file, by its suffix, and not of a folder for many."""
    return Path(path).suffix.lower() in suffixes and not path.endswith("/") and not Path(path).is_dir()


def write_subtitles(timeline: Timeline, path: Path) -> None:
    """Write a whole file of WebVTT."""
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write("WEBVTT\n")
        write_vtt(timeline, file)


def write_scores(timeline: Timeline, path: Path) -> None:
    """Write a row for each second: a .csv with a column for each class, or a .npz with times, scores, class_names."""
    import numpy as np

    with replacing(path) as part:
        if path.suffix.lower() == ".csv":
            with open(part, "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("second", *timeline.class_names))
                for second, scores in zip(timeline.times, timeline.scores, strict=True):
                    table.writerow((f"{second:.3f}", *(f"{score:.6g}" for score in scores)))
        else:
            with open(part, "wb") as file:
                names = np.array(timeline.class_names)
                np.savez_compressed(file, times=timeline.times, scores=timeline.scores, class_names=names)
