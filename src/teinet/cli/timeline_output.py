"""The outputs of `teinet timeline`: a table, JSON, CSV or subtitles, pages, scores, and measures against the truth."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from teinet.cli.options import check_file, is_special
from teinet.errors import ConfigError, VideoError
from teinet.utils.files import replacing, write_csv, write_text
from teinet.utils.text import clock, printable, share

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.data.lists.annotations import Recording
    from teinet.detection.events import Rules
    from teinet.detection.recording import Timeline
    from teinet.evaluation.segments import Detection, Measures, SegmentReport
    from teinet.pages.recording_page import Entry
    from teinet.recognition import Recognizer

CSV_COLUMNS = ("path", "start", "end", "label", "score", "peak")
PAGES = (".html", ".htm")
_LONGEST = 200  # bytes of a file's name, of the 255 that a system allows
_SHOWN = 3  # names in a message
_WIDE = 120  # columns; a narrower terminal wraps the lines itself


class Output:
    """Writes the events of all videos, as table, json, csv or vtt, to a file or standard output.

    Standard output and special files get them as they come, JSON at the end. A regular file gets all at the end, so
    that an earlier file is kept if no video can be read or the work stops. `truth` adds its measures at the end.
    """

    def __init__(self, path: str | None, form: str, truth: Truth | None = None):
        self._path, self._form, self._truth = path, form, truth
        self._found: list[dict[str, Any]] = []
        self._any = False
        self._file: IO[str] = sys.stdout
        if path is not None:
            check_file(path)
            text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
            self._file = open(path, "a", **text) if is_special(path) else io.StringIO()
        if form == "csv":
            csv.writer(self._file, lineterminator="\n").writerow(CSV_COLUMNS)
        elif form == "vtt":
            self._file.write("WEBVTT\n")  # the required first line, also without cues

    def take(self, number: int, timeline: Timeline) -> None:
        """Write the events of one video."""
        self._any = True
        if self._form == "json":
            self._found.append(timeline.to_dict())
            return
        {"csv": write_rows, "vtt": write_vtt, "table": write_table}[self._form](timeline, self._file)
        self._file.flush()

    def close(self, *, stopped: bool = False) -> None:
        """Write the rest: JSON, measures, or the whole file."""
        if self._form == "json":
            answers = self._truth.with_timelines(self._found) if self._truth else self._found
            json.dump(answers, self._file, indent=2, allow_nan=False)
            self._file.write("\n")
        elif self._truth is not None:
            self._truth.write(self._form, self._file)
        if self._path is not None and isinstance(self._file, io.StringIO) and self._any and not stopped:
            write_text(os.path.realpath(self._path), self._file.getvalue())
        if self._path is not None:
            self._file.close()


def files_for(option: str, path: str, videos: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Return the output file of each video: `path` itself if it has one of `suffixes`, else files in that folder.

    The folder is created.

    Raises:
        ConfigError: the path has another suffix, is one file for several videos, or cannot be written.
    """
    suffix, is_folder = Path(path).suffix, path.endswith("/") or Path(path).is_dir()
    single = suffix.lower() in suffixes and not is_folder
    if suffix and not is_folder and not single:
        raise ConfigError(f"{option} {path} ends in {suffix}; use {' or '.join(suffixes)}, or a folder that ends in /")
    if (not path or single) and len(videos) != 1:
        named = f"{option} {path}".strip()
        raise ConfigError(f"{named} is one file, but there are {len(videos)} videos; name a folder: {option} FOLDER/")
    folder = Path(path).parent if single else Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
    files = [Path(path)] if single else [folder / f"{name}{suffixes[0]}" for name in unique_names(videos)]
    check_file(files[0])
    return files


def unique_names(videos: Sequence[Path]) -> list[str]:
    """Return a file name without suffix for each video: its own, numbered if it repeats, never "index"."""
    taken, names = {"index"}, []
    for video in videos:
        stem = video.stem.encode("utf-8", "replace").decode().replace("?", "_") or "recording"
        name = stem = stem.encode()[:_LONGEST].decode("utf-8", "ignore")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


class Pages:
    """The pages of a command: a single file `path`, or `files` in a folder with an index."""

    def __init__(
        self,
        path: str,
        files: Sequence[Path],
        videos: Sequence[Path],
        weights: str,
        recognizer: Recognizer,
        rules: Rules,
    ):
        self._files, self._folder = files, None if files == [Path(path)] else Path(path)
        self._names = [printable(video) for video in videos]
        self._entries: dict[int, Entry] = {}
        self._weights = printable(weights)
        self._facts = {
            "weights": self._weights,
            "network": str((recognizer.header.get("architecture") or {}).get("name", "a network")),
            "license": recognizer.header.get("license") or "",
            "rules": rules,
            "index": self._folder is not None,
        }

    def take(self, number: int, timeline: Timeline) -> None:
        """Write a recording's page, and the index so far."""
        from teinet.pages.recording_page import Entry, render_page

        page = render_page(timeline, name=Path(self._names[number]).name, **self._facts)
        write_text(self._files[number], page, errors="replace")
        self._note(number, Entry.of(timeline, self._names[number], self._files[number].name))

    def fail(self, number: int, error: VideoError) -> None:
        """Add an unreadable recording to the index."""
        from teinet.pages.recording_page import Entry

        self._note(number, Entry(self._names[number], problem=printable(error.reason)))

    def _note(self, number: int, entry: Entry) -> None:
        from teinet.pages.recording_page import render_index

        if self._folder is not None:
            self._entries[number] = entry
            entries = [self._entries[n] for n in sorted(self._entries)]
            index = render_index(entries, weights=self._weights)
            write_text(self._folder / "index.html", index, errors="replace")


def write_rows(timeline: Timeline, file: IO[str]) -> None:
    """Write a row for each event."""
    csv.writer(file, lineterminator="\n").writerows(
        (printable(timeline.path), f"{e.start:.3f}", f"{e.end:.3f}", e.label, f"{e.score:.4f}", f"{e.peak:.4f}")
        for e in timeline.events
    )


def write_vtt(timeline: Timeline, file: IO[str]) -> None:
    """Write events as WebVTT cues, which players show as subtitles (https://www.w3.org/TR/webvtt1/), by their start."""
    for event in sorted(timeline.events, key=lambda event: event.start):  # timestamps may have jumped back
        end = max(event.end, event.start + 0.001)  # a cue must have a duration
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
        console.print(Text("  no events", style="dim"))
    else:
        console.print(Text("  start          end            mean score, label", style="dim"))
    for event in timeline.events:
        line = Text(f"  {clock(event.start)} - {clock(event.end)}", style="cyan")
        line.append(f"  {100 * event.score:5.1f} %  ", style="default").append(printable(event.label), style="bold")
        console.print(line)
    console.print()


def write_subtitles(timeline: Timeline, path: Path) -> None:
    """Write a whole file of WebVTT."""
    write_vtt(timeline, text := io.StringIO())
    write_text(path, f"WEBVTT\n{text.getvalue()}", errors="replace")


def write_scores(timeline: Timeline, path: Path) -> None:
    """Write all scores: a .csv with a row per score and a column per class, or a .npz (times, scores, class_names)."""
    import numpy as np

    if path.suffix.lower() == ".csv":
        rows = zip(timeline.times, timeline.scores, strict=True)
        values = ((f"{second:.3f}", *(f"{score:.6g}" for score in scores)) for second, scores in rows)
        return write_csv(path, ("second", *timeline.class_names), values)
    names = np.array(timeline.class_names)
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, times=timeline.times, scores=timeline.scores, class_names=names)


class Truth:
    """`--truth`: collects the timelines of annotated videos and measures them at the end.

    Raises:
        AnnotationError, ConfigError: the annotations cannot be used, see `read_annotations`.
    """

    def __init__(self, path: str, videos: Sequence[Path], recognizer: Recognizer, rules: Rules):
        from teinet.data.lists.annotations import annotated_rows, read_recording, recording_until

        self._rules, self._background = rules, rules.background or ()
        listed = annotated_rows(path, class_names=recognizer.class_names, background=self._background)
        rows = {os.path.realpath(file): own for file, own in listed.items()}
        names = [os.path.realpath(video) for video in videos]
        self.without = [str(video) for video, name in zip(videos, names, strict=True) if name not in rows]
        self.unused = [own[0].path for file, own in rows.items() if file not in names]
        if len(self.without) == len(videos):
            where = f"{path} annotates other files, such as {self.unused[0]}"
            raise ConfigError(f"none of the videos is annotated: {where}; its paths are relative to the list's folder")
        self._rows = {number: (name, rows[name]) for number, name in enumerate(names) if name in rows}
        self._recordings: dict[int, Recording] = {}
        for number, (name, own) in self._rows.items():
            with suppress(VideoError):  # an unreadable video fails later, with the others done
                recording_until(name, own, math.inf)  # finds invalid rows now
                self._recordings[number] = read_recording(name, own, background=self._background)
        self._found: dict[int, list[Detection]] = {}
        for left_out, what in (
            (self.without, "videos without annotations, which are not measured"),
            (self.unused, "annotated files that are not among the videos"),
        ):
            if left_out:
                shown = ", ".join(left_out[:_SHOWN]) + (", ..." if len(left_out) > _SHOWN else "")
                print(printable(f"{len(left_out)} {what}: {shown}"), file=sys.stderr)

    def take(self, number: int, timeline: Timeline) -> None:
        """Add the timeline of video `number`."""
        from teinet.data.lists.annotations import recording_until
        from teinet.evaluation.segments import detections

        if number in self._rows:
            if number not in self._recordings:
                name, rows = self._rows[number]
                self._recordings[number] = recording_until(name, rows, timeline.end, background=self._background)
            self._found[number] = detections(timeline.events, timeline.intervals, min_duration=self._rules.min_duration)

    def report(self) -> SegmentReport:
        """Return the measures of all videos added so far."""
        from teinet.evaluation.segments import measure

        numbers = sorted(self._found)
        return measure([self._recordings[n] for n in numbers], [self._found[n] for n in numbers])

    def with_timelines(self, timelines: list[dict[str, Any]]) -> dict[str, Any]:
        """Return timelines and measures as JSON values."""
        return {
            "recordings": timelines,
            "measures": self.report().to_dict(),
            "without_annotations": [printable(name) for name in self.without],
            "annotated_only": [printable(name) for name in self.unused],
        }

    def write(self, form: str, file: IO[str]) -> None:
        """Write the measures as a table: to `file` in form "table", to standard error in others."""
        from rich.console import Console

        print_report(self.report(), Console(file=file if form == "table" else sys.stderr, highlight=False))


def print_report(report: SegmentReport, console: Console) -> None:
    """Print the measures as a table with a row for each label and one for all."""
    from rich.text import Text

    from teinet.utils.tables import plain_table

    def cells(measures: Measures) -> list[str]:
        return [
            str(measures.segments),
            str(measures.events),
            *map(share, (*measures.f1.values(), measures.detected)),
            *("-" if d is None else f"{d:.2f}" for d in (measures.delay_mean, measures.delay_median)),
            f"{measures.false_alarms_per_hour:.1f}",
            share(measures.accuracy),
        ]

    scope = f"{report.recordings} recordings, {report.overall.seconds / 60:.1f} min"
    title = f"compared with the annotations: {scope}; in %, delays in s"
    overlaps = [f"F1@{100 * overlap:g}" for overlap in report.overall.f1]
    heads = ("label", "segments", "events", *overlaps, "detected", "delay", "median", "false/h", "accuracy")
    table = plain_table(*heads, text=["label"], title=title)
    for name, measures in report.labels.items():
        table.add_row(Text(printable(name)), *cells(measures))
    table.add_section()
    table.add_row("all", *cells(report.overall), style="bold")
    console.width = max(console.width, _WIDE)
    console.print(table)
    if report.quiet is not None:
        quiet = f"{100 * report.quiet:.1f} % of {report.quiet_seconds:.0f} s"
        console.print(f"outside all segments: no event in {quiet}", style="dim", soft_wrap=True)
