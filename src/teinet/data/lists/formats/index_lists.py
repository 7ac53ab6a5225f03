"""Lists of TSN, TSM, MMAction2 and SlowFast: a path and numbers per line; class names in a file next to them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row, presence
from teinet.data.video.reader import VideoReader
from teinet.errors import AnnotationError, VideoError

_BEFORE_NUMBER = re.compile(r"[ \t]+(?=\d+(?:[ \t]+\d+)*$)")  # of the numbers at the end of a line
_LONGEST = 5000  # characters of a line: longer than any path, and the time of the patterns grows with the square
_COUNTED = 10  # clips of a list
_MISCOUNTED = 2  # frames by which other tools' counts may be wrong

# File names of the class names in these projects, one per line.
_NAMES = ("category.txt", "categories.txt", "labels.txt", "classes.txt", "classind.txt")


@dataclass(frozen=True)
class NumberedList:
    """A list format with a path and the index of a class per line.

    Args:
        name, title: see `Format`.
        line: matches a whole line, with groups `path` and `label`.
        expected: description of a line.
        images: true if the paths are folders of images.
    """

    name: str
    title: str
    line: re.Pattern[str]
    expected: str
    suffixes: tuple[str, ...]
    images: bool = False

    def format(self) -> Format:
        """Return the `Format` of these lists."""
        return Format(self.name, self.title, lambda data: bool(self._files(data)), self._read)

    def _files(self, data: DataPath) -> dict[Path, str]:
        """Return the files of this format with their splits; in a folder only those with a split in their names."""
        found = {p: base.split_of(n) for n, p in data.files.items() if n.endswith(self.suffixes) and n not in _NAMES}
        # Only the first line decides: an invalid line further down is an error.
        return {
            path: split
            for path, split in found.items()
            if (split or not data.is_folder) and self._match(base.first_line(path))
        }

    def _match(self, text: str) -> re.Match[str] | None:
        return None if len(text) > _LONGEST else self.line.fullmatch(text)

    def _read(self, data: DataPath, options: Options) -> Listing:
        names, notes = options.class_names, []
        if names is None and (file := _class_names_file(data.folder)):
            names = read_class_names(file)
            notes.append(f"class names from {file}")
        rows = []
        for path, split in (self._files(data) or {data.path: ""}).items():
            rows += self._rows(path, split, names, str(data.videos or data.folder), notes)
        numbered = names is None
        if numbered:
            names = base.numbers_as_names(rows)
            notes.append("classes have no names, only numbers; name them with data.labels FILE")
        facts = {"class_names": names, "notes": notes, "numbered": numbered}
        return Listing(format=self.name, source=data.path, rows=rows, **facts)

    def _rows(self, path: Path, split: str, names: list[str] | None, root: str, notes: list[str]) -> list[Row]:
        rows = []
        clip_of, exists, file = base.under(root), presence(), str(path)
        unchecked = _COUNTED if self.images else 0
        for line, text in base.read_lines(path):
            try:
                clip, number = self._parse(text, clip_of, exists)
                label, clip = base.numbered_label(number, names, path, line), clip_of(clip)
                if unchecked and exists(clip):
                    unchecked -= 1
                    if note := _miscounted(clip, int(text.split()[-2])):
                        notes.append(f"{path}, line {line}: {note}")
                        unchecked = 0
            except ValueError as error:
                raise AnnotationError(path, str(error), line) from None
            name = clip.rpartition(os.sep)[2]
            if not self.images:
                name = name.rpartition(".")[0] or name
            rows.append(Row(clip, label, split, None, None, name, file, line))
        return rows

    def _parse(self, text: str, clip_of: Callable[[str], str], exists: Callable[[str], bool]) -> tuple[str, str]:
        """Return the path and the label of a line; if it can be read in several ways, the path that exists decides."""
        if len(text) > _LONGEST:
            raise ValueError(f"expected {self.expected}, found a line of {len(text)} characters")
        match = self._match(text)
        ends = [space.start() for space in _BEFORE_NUMBER.finditer(text)]
        there = {count: text[:end] for count, end in enumerate(reversed(ends), 1) if exists(clip_of(text[:end]))}
        usual = 2 if self.images else 1  # numbers after the path
        if match and there.keys() <= {usual}:
            return match["path"], match["label"]
        if there.keys() == {1}:
            return there[1], text.split()[-1]
        if match and 2 in there and usual == 2 and _count(clip_of(there[2])) == int(text.split()[-2]):
            return match["path"], match["label"]
        if len(there) > 1:
            one, other, *_ = there.values()
            raise ValueError(f"{one!r} and {other!r} both exist, and this line can name either; rename one")
        if there:
            count, clip = min(there.items())
            reason = f"{clip!r} exists, but {count} numbers follow it; expected {self.expected}"
            raise ValueError(f"{reason} (several labels per clip are not supported)")
        raise ValueError(f"expected {self.expected}, found {text[:60]!r}")


def _miscounted(clip: str, listed: int) -> str | None:
    """Return a note on a folder with other numbers of images than listed; ValueError for a file: both may be labels."""
    count = _count(clip)
    if count is None or abs(count - listed) <= max(_MISCOUNTED, count // 10):
        return None
    if os.path.isdir(clip):
        return f"{clip} has {count} images, not {listed}; lists' numbers of frames are not used"
    reason = f"{clip} has {count} frames, not {listed}; expected `folder frames label`"
    raise ValueError(f"{reason} (several labels per clip are not supported)")


def _count(clip: str) -> int | None:
    """Return the number of frames of a clip; None if it cannot be read."""
    try:
        return len(VideoReader(clip))
    except VideoError:
        return None


def _class_names_file(folder: Path) -> Path | None:
    files = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_file()}
    return next((p for name, p in files.items() if name in _NAMES or name.startswith("label_map")), None)


# Folder names may have spaces. The number of frames is ignored: the images on disk are counted.
TSN = NumberedList(
    name="tsn",
    title="TSN's and TSM's lists, MMAction2's of frames (folder frames label)",
    line=re.compile(r"(?P<path>.+?)[ \t]+\d+[ \t]+(?P<label>\d+)"),
    expected="`folder frames label`",
    suffixes=(".txt", ".lst"),
    images=True,
).format()
MMACTION = NumberedList(
    name="mmaction",
    title="MMAction2's lists of videos (file label)",
    # The last word of the path is not a number, which would be TSN's number of frames.
    line=re.compile(r"(?P<path>(?:.*[ \t])?\S*[^\s\d]\S*)[ \t]+(?P<label>\d+)"),
    expected="`file label`",
    suffixes=(".txt", ".lst"),
).format()
SLOWFAST = NumberedList(
    name="slowfast",
    title="SlowFast's and PyTorchVideo's csv (path label)",
    # Separated by a space or a comma, without a header line.
    line=re.compile(r'"?(?P<path>(?:[^"]*[ ,\t])?[^\s,"]*[^\s,\d"][^\s,"]*)"?[ ,\t]+(?P<label>\d+)'),
    expected="`path label` or `path,label`",
    suffixes=(".csv",),
).format()
