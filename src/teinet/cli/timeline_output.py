"""What `teinet timeline` writes: a table, JSON, CSV or subtitles of all videos; a page and the scores of each."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from teinet.cli.places import check_file, make_folder
from teinet.errors import ConfigError, Interrupted
from teinet.utils.files import replacing
from teinet.utils.text import clock, printable

if TYPE_CHECKING:
    from teinet.cli.truth import Truth
    from teinet.detection.events import Rules
    from teinet.detection.recording import Timeline
    from teinet.errors import VideoError
    from teinet.pages.recording_page import Entry
    from teinet.recognition import Recognizer

FORMS = ("table", "json", "csv", "vtt")
CSV_COLUMNS = ("path", "start", "end", "label", "score", "peak")
PAGES = (".html", ".htm")
_NAME = 200  # bytes of a file's name, of the 255 that a system allows


class Output:
    """Where the answers for all videos go, in one form.

    A file grows in the results' folder, and takes its name when all is done; what is no regular file, such as
    /dev/stdout, is written to directly.

    Args:
        path: a file; None for standard output.
        form: one of FORMS; JSON is written at the end, the others as answers come.
        truth: what adds its measures at the end; None for none.

    Raises:
        ConfigError: it cannot be written.

    Attributes:
        growing: the file that holds the answers until all are there; None where they are written directly.
    """

    def __init__(self, path: str | None, form: str, truth: Truth | None = None):
        self._path, self._form, self._truth = Path(path) if path else None, form, truth
        folder = results_folder(path)
        self.growing = None if folder is None or self._path is None else folder / self._path.name
        self._found: list[dict[str, Any]] = []
        self._written = False
        self._file: IO[str] = sys.stdout
        if self._path is not None:
            check_file(self._path)
            if folder is not None and not os.access(self._path.parent, os.W_OK):
                raise ConfigError(f"{path}: cannot be written (its folder may not be written)")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Take answers inside the block; at its end the file takes its name, if there were any answers.

        `Interrupted` is an end too: what is there is written, and stays where it is.

        Raises:
            OSError: it cannot be written.
        """
        if self._path is None:
            with self._written_to(sys.stdout):
                yield
            return
        if self.growing is not None:
            self.growing.parent.mkdir(exist_ok=True)
        where, mode = (self._path, "a") if self.growing is None else (self.growing, "w")
        try:
            file = open(where, mode, encoding="utf-8", errors="surrogateescape", newline="")
            with file, self._written_to(file):
                yield
            if self._written and self.growing is not None:
                with replacing(os.path.realpath(self._path)) as part:
                    shutil.copyfile(self.growing, part)
        except Interrupted:
            raise
        except BaseException:
            self._remove_growing()
            raise
        self._remove_growing()

    def write(self, timeline: Timeline) -> None:
        """Write the answer for one video."""
        self._written = True
        if self._form == "json":
            self._found.append(timeline.to_dict())
            return
        {"csv": write_csv, "vtt": write_vtt, "table": write_table}[self._form](timeline, self._file)
        self._file.flush()

    @contextmanager
    def _written_to(self, file: IO[str]) -> Iterator[None]:
        self._file = file
        if self._form == "csv":
            csv.writer(file, lineterminator="\n").writerow(CSV_COLUMNS)
        elif self._form == "vtt":
            file.write("WEBVTT\n")  # which the file must begin with, also without a cue
        stopped: Interrupted | None = None
        try:
            yield
        except Interrupted as error:
            stopped = error
        if self._form == "json":
            json.dump(self._truth.beside(self._found) if self._truth else self._found, file, indent=2, allow_nan=False)
            file.write("\n")
        elif self._truth is not None:
            self._truth.write(self._form, file)
        if stopped is not None:
            raise stopped

    def _remove_growing(self) -> None:
        if self.growing is not None:
            self.growing.unlink(missing_ok=True)
            with suppress(OSError):  # it holds results
                self.growing.parent.rmdir()


def results_folder(output: str | None) -> Path | None:
    """The folder next to an output for what is finished so far; None where there is no place for one."""
    path = Path(output or "")
    if output and path.name in ("", ".."):
        path = Path(os.path.abspath(output))
    special = path.is_relative_to("/dev") or (path.exists() and not (path.is_file() or path.is_dir()))
    if not output or not path.name or special:
        return None
    return path.with_name(f"{path.name}.partial")


def files_for(option: str, path: str, videos: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """The file of each video at an option's path: that of a file, by its suffix, or of a folder, which is made.

    Raises:
        ConfigError: one file for several videos, or what cannot be made or written.
    """
    suffix, folder = Path(path).suffix, path.endswith("/") or Path(path).is_dir()
    single = suffix.lower() in suffixes and not folder
    if suffix and not folder and not single:
        raise ConfigError(f"{option} {path} ends in {suffix}, not in {' or '.join(suffixes)}; a folder ends in /")
    if not path or single:
        if len(videos) != 1:
            named = f"{option} {path}".strip()
            raise ConfigError(f"{named} holds one video's; {len(videos)} were named. Name a folder: {option} FOLDER/")
        make_folder(Path(path).parent, path)
        check_file(path)
        return [Path(path)]
    make_folder(Path(path), path)
    return [Path(path) / f"{name}{suffixes[0]}" for name in unique_names(videos)]


def unique_names(videos: Sequence[Path]) -> list[str]:
    """A file's name, without suffix, for each video: by its own, numbered where two are alike; never "index"."""
    taken, names = {"index"}, []
    for video in videos:
        stem = video.stem.encode("utf-8", "replace").decode().replace("?", "_") or "recording"
        name = stem = stem.encode()[:_NAME].decode("utf-8", "ignore")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


class Pages:
    """The pages of a command: one, or a folder of them with an index.

    Args:
        path: a file that ends in .html, for one recording; else a folder, which is made.
        videos: the recordings.
        weights: what to call them.

    Raises:
        ConfigError: one file for several recordings, or a place that cannot be written.
    """

    def __init__(self, path: str, videos: Sequence[Path], weights: str):
        self._weights = printable(weights)
        self._names = [printable(video) for video in videos]
        self._pages = files_for("--page", path, videos, PAGES)
        self._folder = None if self._pages == [Path(path)] else Path(path)
        self._entries: dict[int, Entry] = {}

    def describe(self, recognizer: Recognizer, rules: Rules) -> None:
        """Take what the pages say of the recognizer, and by which rules events are found."""
        self._rules = rules
        self._network = str((recognizer.header.get("architecture") or {}).get("name", "a network"))
        self._licence = recognizer.header.get("licence") or ""

    def take(self, number: int, timeline: Timeline) -> None:
        """Write a recording's page, and the index so far."""
        from teinet.pages.recording_page import Entry, render_page

        page = render_page(
            timeline,
            name=Path(self._names[number]).name,
            weights=self._weights,
            network=self._network,
            licence=self._licence,
            rules=self._rules,
            index=self._folder is not None,
        )
        _write(self._pages[number], page)
        self._note(number, Entry.of(timeline, self._names[number], self._pages[number].name))

    def fail(self, number: int, error: VideoError) -> None:
        """Note in the index that a recording could not be read."""
        from teinet.pages.recording_page import Entry

        self._note(number, Entry(self._names[number], problem=printable(error.reason)))

    def _note(self, number: int, entry: Entry) -> None:
        from teinet.pages.recording_page import render_index

        if self._folder is not None:
            self._entries[number] = entry
            entries = [self._entries[n] for n in sorted(self._entries)]
            _write(self._folder / "index.html", render_index(entries, weights=self._weights))


def _write(path: Path, page: str) -> None:
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")


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
