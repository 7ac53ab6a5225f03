"""What the lists of TSN's family, MMAction2 and SlowFast share: a path, then numbers; class names in a file beside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats.base import (
    Format,
    Listing,
    Options,
    Place,
    first_lines,
    numbered_label,
    numbers_as_names,
    picture_pattern,
    read_lines,
    split_of,
    under,
)
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

# What those projects call the file that names the classes, one a line.
_NAMES = ("category.txt", "categories.txt", "labels.txt", "classes.txt", "classind.txt")


@dataclass(frozen=True)
class NumberedList:
    """A kind of list whose lines are a path and the number of a class.

    Args:
        name, title: see `Format`.
        line: a whole line; its groups `path` and `label`.
        expected: such a line in words.
        suffixes: of its files.
        pictures: whether a path is a folder of pictures.
    """

    name: str
    title: str
    line: re.Pattern[str]
    expected: str
    suffixes: tuple[str, ...]
    pictures: bool = False

    def format(self) -> Format:
        """This kind of list as one of the on-disk formats."""
        return Format(self.name, self.title, lambda place: bool(self._files(place)), self._read)

    def _files(self, place: Place) -> dict[Path, str]:
        """The files of this kind, each with its split; of a folder's those whose names tell it."""
        found = {p: split_of(n) for n, p in place.files.items() if n.endswith(self.suffixes) and n not in _NAMES}
        return {p: split for p, split in found.items() if (split or not place.is_folder) and self._fits(p)}

    def _fits(self, path: Path) -> bool:
        lines = first_lines(path, 1)  # a bad line further down is to be named, and the list not to be passed over
        return bool(lines) and self.line.fullmatch(lines[0].strip()) is not None

    def _read(self, place: Place, options: Options) -> Listing:
        names, notes = options.class_names, []
        if names is None and (file := _names_beside(place.folder)):
            names = read_class_names(file)
            notes.append(f"class names from {file}")
        rows = []
        for path, split in (self._files(place) or {place.path: ""}).items():
            rows += self._rows(path, split, names, str(place.videos or place.folder), options)
        numbered = names is None
        if numbered:
            names = numbers_as_names(rows)
            notes.append("classes have numbers and no names; name them with data.labels FILE")
        return Listing(
            format=self.name, source=place.path, rows=rows, class_names=names, notes=notes, numbered=numbered
        )

    def _rows(self, path: Path, split: str, names: list[str] | None, root: str, options: Options) -> list[Row]:
        pattern = picture_pattern(options.picture_names) if self.pictures else None
        rows = []
        clip_of, file = under(root), str(path)
        for line, text in read_lines(path):
            match = self.line.fullmatch(text)
            if match is None:
                raise AnnotationError(path, f"expected {self.expected}, found {text[:60]!r}", line)
            clip, label = clip_of(match["path"]), numbered_label(match["label"], names, path, line)
            name = clip.rpartition(os.sep)[2]
            if not self.pictures:
                name = name.rpartition(".")[0] or name
            clip = os.path.join(clip, pattern) if pattern else clip
            rows.append(Row(clip, label, split, None, None, name, file, line))
        return rows


def _names_beside(folder: Path) -> Path | None:
    files = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_file()}
    return next((p for name, p in files.items() if name in _NAMES or name.startswith("label_map")), None)
