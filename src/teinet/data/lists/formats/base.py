"""What all on-disk formats share: where to look, what they return, and how lines of text become rows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Place:
    """The file or folder that a user named, looked at once; `videos`: the clips' folder, where the user named it."""

    path: Path
    videos: Path | None = None

    @cached_property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that the file lies in."""
        return self.path if self.is_folder else self.path.parent

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files to read, by lower-case name: all of a folder and of its folders of lists, or the one file."""
        if not self.is_folder:
            return {self.path.name.lower(): self.path}
        found: dict[str, Path] = {}
        for folder in (self.path, *(self.path / name for name in _LIST_FOLDERS)):
            if folder.is_dir():
                for entry in sorted(os.scandir(folder), key=lambda e: e.name):
                    if entry.is_file() and not entry.name.startswith("."):
                        found.setdefault(entry.name.lower(), Path(entry.path))
        return found

    def find_videos(self, *names: str) -> Path:
        """The folder of clips: the one that was named, else the first of `names` next to the lists or one level up."""
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
    """What a user may say about a list beyond its place.

    Args:
        official_split: which of several official splits into training and test, from 1.
        image_names: how images in a folder are named, img_%05d.jpg or img_{:05d}.jpg; None takes all numbered ones.
        class_names: in the order of the list's numbers; None where the list or a file next to it names them.
    """

    official_split: int = 1
    image_names: str | None = None
    class_names: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a data set on disk says of its clips.

    Args:
        format, source: the format's name, and the file or folder that was read.
        rows: its clips in its own order.
        class_names: all classes in the makers' order; None where labels are names and nobody orders them.
        notes: what was assumed or noticed, a line each.
        numbered: whether its labels are numbers that nobody names.
        absent: positions of rows that point nowhere; None where nobody has looked.
        incomplete: whether copies of this data set lack clips as a rule (videos that were taken off the web).
        submission: how its makers want predictions of unlabeled clips: "names" (the best class's name) or
            "numbers" (the five best classes' numbers).
        dropped: rows that pointed nowhere and were left out of `rows`.
        drawn: whether chance had a part in its splits, and not the list or selections alone.
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
    """One on-disk format.

    Args:
        name, title: what `data.format` calls it, and what people do.
        recognize: whether a place holds it.
        read: reads it; AnnotationError where it does not say what it should.
    """

    name: str
    title: str
    recognize: Callable[[Place], bool]
    read: Callable[[Place, Options], Listing]


def under(root: str | os.PathLike[str]) -> Callable[[str], str]:
    """Return what joins relative paths to a folder, and leaves absolute ones: os.path.join, for a million calls."""
    prefix = os.path.join(root, "")
    absolute = os.path.isabs
    return lambda path: path if absolute(path) else prefix + path


@lru_cache(maxsize=1024)
def split_of(name: str) -> str:
    """The split that a file's or folder's name tells (`kinetics_val.csv`, `validation`), or an empty text."""
    words = "".join(c if c.isalnum() else " " for c in name.rsplit(".", 1)[0].lower()).split()
    # trainlist01 and train_videofolder alike
    stems = {stem for word in words for stem in (word, word.rstrip("0123456789").removesuffix("list"))}
    found = {_SPLIT_WORDS[stem] for stem in stems if stem in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else ""


def first_line(path: Path) -> str:
    """Return the first line of a text file that holds something; an empty text where it is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(1 << 16)
    except OSError:
        return ""
    if b"\0" in content:
        return ""
    lines = (line.strip() for line in content.decode("utf-8-sig", "replace").splitlines())
    return next(filter(None, lines), "")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold something, stripped, each with its number from 1; raises as `read_text`."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line := line.strip():
            yield number, line


def numbered_label(text: str, names: Sequence[str] | None, path: Path, line: int) -> str:
    """The name of a class by its number from 0, or the number where nobody names it; AnnotationError: no such class."""
    if not text.isdecimal():
        hint = "several labels a clip are not supported" if text.replace(",", "").isdecimal() else "expected a number"
        raise AnnotationError(path, f"{text!r} is no class: {hint}", line)
    number = int(text)
    if names is None:
        return str(number)
    if number >= len(names):
        raise AnnotationError(path, f"class {number} does not exist: {len(names)} names, 0 to {len(names) - 1}", line)
    return names[number]


def numbers_as_names(rows: Iterable[Row]) -> list[str]:
    """Class names 0, 1, ... up to the largest in the rows, for lists whose numbers nobody names."""
    largest = max((int(row.label) for row in rows if row.label is not None), default=-1)
    return [str(number) for number in range(largest + 1)]


def span(start: str | None, end: str | None, path: Path, line: int | None) -> tuple[float | None, float | None]:
    """Start and end in seconds from their texts, None for an empty one; AnnotationError: no numbers, or no span."""
    if not start and not end:
        return None, None
    try:
        first, last = (float(text) if text else None for text in (start, end))
    except (TypeError, ValueError):
        raise AnnotationError(path, "start and end must be numbers (seconds)", line) from None
    if not all(v is None or (math.isfinite(v) and v >= 0) for v in (first, last)) or (last or math.inf) <= (first or 0):
        found = f"start {start or 'none'} and end {end or 'none'}"
        raise AnnotationError(path, f"{found}: no span of time (seconds, 0 <= start < end)", line)
    return first, last


def one_a_split(found: dict[Path, str]) -> dict[Path, str]:
    """The same lists with their splits; AnnotationError where two are of one split."""
    first: dict[str, Path] = {}
    for path, split in found.items():
        if split in first:
            what = f"lists of {split} clips" if split else "lists whose names tell no split"
            raise AnnotationError(path, f"{path.name} and {first[split].name} are both {what}; name one of them")
        first[split] = path
    return found


def image_pattern(names: str | None) -> str | None:
    """img_{:05d}.jpg, as lists of TSN's family write it, in FFmpeg's way: img_%05d.jpg."""
    if names is None or "%" in names:
        return names
    before, brace, rest = names.partition("{")
    width, _, after = rest.partition("}")
    return f"{before}%{width.removeprefix(':') or 'd'}{after}" if brace else names
