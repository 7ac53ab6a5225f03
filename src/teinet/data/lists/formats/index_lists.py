"""Lists of TSN, TSM, MMAction2 and SlowFast: a path and numbers per line; class names in a file next to them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

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
            if (split or not data.is_folder) and self.line.fullmatch(base.first_line(path))
        }

    def _read(self, data: DataPath, options: Options) -> Listing:
        names, notes = options.class_names, []
        if names is None and (file := _class_names_file(data.folder)):
            names = read_class_names(file)
            notes.append(f"class names from {file}")
        rows = []
        for path, split in (self._files(data) or {data.path: ""}).items():
            rows += self._rows(path, split, names, str(data.videos or data.folder), options)
        numbered = names is None
        if numbered:
            names = base.numbers_as_names(rows)
            notes.append("classes have no names, only numbers; name them with data.labels FILE")
        facts = {"class_names": names, "notes": notes, "numbered": numbered}
        return Listing(format=self.name, source=data.path, rows=rows, **facts)

    def _rows(self, path: Path, split: str, names: list[str] | None, root: str, options: Options) -> list[Row]:
        pattern = base.image_pattern(options.image_names) if self.images else None
        rows = []
        clip_of, file = base.under(root), str(path)
        for line, text in base.read_lines(path):
            match = self.line.fullmatch(text)
            if match is None:
                raise AnnotationError(path, f"expected {self.expected}, found {text[:60]!r}", line)
            clip, label = clip_of(match["path"]), base.numbered_label(match["label"], names, path, line)
            name = clip.rpartition(os.sep)[2]
            if not self.images:
                name = name.rpartition(".")[0] or name
            clip = os.path.join(clip, pattern) if pattern else clip
            rows.append(Row(clip, label, split, None, None, name, file, line))
        return rows


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
