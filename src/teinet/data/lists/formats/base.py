"""The common basis of list formats: the files to read, the result, and the parsing of lines into rows."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from typing import Literal

from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row
from teinet.data.video.image_order import is_pattern
from teinet.data.video.reader import VIDEO_SUFFIXES
from teinet.errors import AnnotationError, ConfigError

_MOST_CLASSES = 1_000_000  # without names: each index up to the largest is a class
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class DataPath:
    """The file or folder named by the user, read once; `videos` is the folder of clips, if the user named it."""

    path: Path
    videos: Path | None = None

    @cached_property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @property
    def folder(self) -> Path:
        """The folder, or the folder of the file."""
        return self.path if self.is_folder else self.path.parent

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files to read, by lower-case name: all of a folder and of its folders of lists, or the single file."""
        if not self.is_folder:
            return {self.path.name.lower(): self.path}
        found: dict[str, Path] = {}
        for folder in (self.path, *(self.path / name for name in _LIST_FOLDERS)):
            if folder.is_dir():
                for entry in sorted(os.scandir(folder), key=lambda e: e.name):
                    if os.path.isfile(entry.path) and not entry.name.startswith("."):
                        found.setdefault(entry.name.lower(), Path(entry.path))
        return found

    def find_videos(self, *names: str) -> Path:
        """Return the folder of clips: `videos`, else the first of `names` next to the lists or one level up."""
        if self.videos is not None:
            return self.videos
        for base in (self.folder, self.folder.parent):
            for name in names:
                if (base / name).is_dir():
                    return base / name
        return self.folder


_LIST_FOLDERS = (
    *("annotations", "labels", "annotation", "lists", "splits"),
    *("ucfTrainTestlist", "testTrainMulti_7030_splits"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options for reading a list.

    Args:
        official_split: number of the official split into training and test, from 1.
        image_names: pattern of image names in a folder, img_%05d.jpg or img_{:05d}.jpg; None takes all numbered ones,
            if their names show one order.
        class_names: in the order of their indices; None takes those of the list or of a file next to it.
        multi_label: see `DataConfig`; readers need not merge the rows of a clip.
    """

    official_split: int = 1
    image_names: str | None = None
    class_names: list[str] | None = None
    multi_label: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The clips of a list or data set on disk.

    Args:
        format, source: the name of the format, and the file or folder that was read.
        rows: its clips, in order.
        class_names: all classes in the order of their indices; None if labels are names without an order.
        notes: assumptions and remarks, one line each.
        numbered: true if labels are numbers without names.
        absent: positions of rows without a file; None if not checked.
        incomplete: true if copies of this data set usually lack clips (videos removed from the web).
        submission: the format of predictions for the data set's evaluation server: "names" (of the best class) or
            "numbers" (indices of the five best classes).
        dropped: rows without a file that were left out of `rows`.
        drawn: true if its splits are random, not from the list or selections alone.
    """

    format: str
    source: Path
    rows: list[Row]
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    numbered: bool = False
    absent: list[int] | None = None
    incomplete: bool = False
    submission: Literal["names", "numbers"] = "names"
    dropped: list[Row] = field(default_factory=list)
    drawn: bool = False


@dataclass(frozen=True)
class Format:
    """One list format.

    Args:
        name, title: its name in `data.format`, and for people.
        recognize: returns true if a file or folder has this format.
        read: reads it; AnnotationError if it is invalid.
    """

    name: str
    title: str
    recognize: Callable[[DataPath], bool]
    read: Callable[[DataPath, Options], Listing]


def under(root: str | os.PathLike[str]) -> Callable[[str], str]:
    """Return a function that joins relative paths to a folder, fast enough for a million calls; `./` is removed."""
    prefix = os.path.join(root, "")
    absolute = os.path.isabs

    def join(path: str) -> str:
        if "://" in path:
            return path
        if "./" in path or "//" in path:  # two spellings of one file
            path = str(PurePath(path))
        return path if absolute(path) else prefix + path

    return join


@lru_cache(maxsize=1024)
def split_of(name: str) -> str:
    """Return the split in the name of a file or folder (`kinetics_val.csv`, `validation`), or an empty string."""
    words = "".join(c if c.isalnum() else " " for c in name.rsplit(".", 1)[0].lower()).split()
    # trainlist01 and train_videofolder alike
    stems = {stem for word in words for stem in (word, word.rstrip("0123456789").removesuffix("list"))}
    found = {_SPLIT_WORDS[stem] for stem in stems if stem in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else ""


def head(path: Path) -> str:
    """Return the first 64 KB of a text file; an empty string if it is not a text file."""
    try:
        with path.open("rb") as file:
            content = file.read(1 << 16)
    except OSError:
        return ""
    return "" if b"\0" in content else content.decode("utf-8-sig", "replace")


def first_line(path: Path) -> str:
    """Return the first line of a text file that is not blank; an empty string if it is not a text file."""
    return next(filter(None, map(str.strip, head(path).splitlines())), "")


def videos_below(root: Path) -> dict[str, str]:
    """Return all video files below a folder, by name without suffix."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        path = under(folder)
        for file in files:
            stem, _, suffix = file.rpartition(".")
            if f".{suffix.lower()}" in VIDEO_SUFFIXES:
                found.setdefault(stem, path(file))
    return found


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, stripped, with their numbers from 1; raises as `read_text`."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line := line.strip():
            yield number, line


def numbered_label(text: str, names: Sequence[str] | None, path: Path, line: int) -> str:
    """Return the class name for an index from 0, or the index without `names`; AnnotationError if it is invalid."""
    if not text.isdecimal():
        several = text.replace(",", "").isdecimal()
        hint = "several labels per clip are not supported" if several else "expected the index of a class"
        raise AnnotationError(path, f"label {text!r} is not a number; {hint}", line)
    if len(text) > 9 or (names is None and int(text) > _MOST_CLASSES):
        raise AnnotationError(path, f"label {text[:20]} is too large for the index of a class", line)
    number = int(text)
    if names is None:
        return str(number)
    if number >= len(names):
        raise AnnotationError(path, f"class {number} does not exist; there are classes 0 to {len(names) - 1}", line)
    return names[number]


def numbers_as_names(rows: Iterable[Row]) -> list[str]:
    """Return class names 0, 1, ... up to the largest label of the rows, for lists without names."""
    largest = max((int(row.label) for row in rows if row.label is not None), default=-1)
    return [str(number) for number in range(largest + 1)]


def span(start: str | None, end: str | None, path: Path, line: int | None) -> tuple[float | None, float | None]:
    """Parse start and end in seconds, None if empty; AnnotationError if they are not numbers or out of order."""
    if not start and not end:
        return None, None
    try:
        first, last = (float(text) if text else None for text in (start, end))
    except (TypeError, ValueError):
        raise AnnotationError(path, "start and end must be numbers (seconds)", line) from None
    if not all(v is None or (math.isfinite(v) and v >= 0) for v in (first, last)) or (last or math.inf) <= (first or 0):
        found = f"start {start or 'none'} and end {end or 'none'}"
        raise AnnotationError(path, f"{found} are invalid; they are seconds, 0 <= start < end", line)
    return first, last


# what reading a damaged JSON, XML or csv raises, whose entries may have any form
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, SyntaxError, csv.Error)


def invalid(path: Path, format: str, error: Exception) -> AnnotationError:
    """Return the error for a list that its format's reader cannot read, in words."""
    reason = "an entry has another form"
    if isinstance(error, (json.JSONDecodeError, SyntaxError, csv.Error)):  # ElementTree's errors are of syntax
        reason = str(error)
    elif isinstance(error, KeyError):
        reason = f"an entry has no {error}"
    return AnnotationError(path, f"is not a valid list of format {format} ({reason})")


def read_rows(data: DataPath, format: str, lists: Iterable[Path], read: Callable[[Path], Iterable[Row]]) -> list[Row]:
    """Return the rows of several lists, with the split that a list's name tells; AnnotationError if one is damaged."""
    found: list[Row] = []
    for path in lists:
        split = split_of(path.name)
        try:
            own = [row._replace(split=row.split or split, file=str(path)) for row in read(path)]
        except DAMAGED as error:
            raise invalid(path, format, error) from None
        for row in own:
            if row.label is not None and not isinstance(row.label, str):
                raise AnnotationError(path, f"label {str(row.label)[:40]!r} is no text", row.line)
        found += own
    if not found:
        raise AnnotationError(data.path, f"no label found in a list of format {format}")
    return found


def one_a_split(found: dict[Path, str]) -> dict[Path, str]:
    """Return the lists with their splits; AnnotationError if two have the same split."""
    first: dict[str, Path] = {}
    for path, split in found.items():
        if split in first:
            what = f"lists of {split} clips" if split else "lists without a split in their names"
            raise AnnotationError(path, f"{path.name} and {first[split].name} are both {what}; choose one of them")
        first[split] = path
    return found


def image_pattern(names: str | None) -> str | None:
    """Return a pattern of image names as FFmpeg's (img_%05d.jpg), given that or TSN's (img_{:05d}.jpg).

    Raises:
        ConfigError: it has no number.
    """
    if names is None:
        return None
    pattern = re.sub(r"\{:?([^{}]*)\}", lambda field: f"%{field[1].rstrip('d')}d", names)
    if not is_pattern(pattern):
        raise ConfigError(f"data.image_names {names!r} has no number; write it as img_%05d.jpg or img_{{:05d}}.jpg")
    return pattern
