"""Lists of TSN's family, MMAction2 and SlowFast: a path, then numbers a line; class names in a file next to them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import Format, Listing, Options, Place
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
        images: whether a path is a folder of images.
    """

    name: str
    title: str
    line: re.Pattern[str]
    expected: str
    suffixes: tuple[str, ...]
    images: bool = False

    def format(self) -> Format:
        """This kind of list as one of the on-disk formats."""
        return Format(self.name, self.title, lambda place: bool(self._files(place)), self._read)

    def _files(self, place: Place) -> dict[Path, str]:
        """The files of this kind, each with its split; of a folder's those whose names tell it."""
        found = {p: base.split_of(n) for n, p in place.files.items() if n.endswith(self.suffixes) and n not in _NAMES}
        # By the first line: a bad one further down is an error, and no reason to pass over the list.
        return {
            path: split
            for path, split in found.items()
            if (split or not place.is_folder) and self.line.fullmatch(base.first_line(path))
        }

    def _read(self, place: Place, options: Options) -> Listing:
        names, said = options.class_names, []
        if names is None and (file := _class_names_file(place.folder)):
            names = read_class_names(file)
            said.append(f"class names from {file}")
        rows = []
        for path, split in (self._files(place) or {place.path: ""}).items():
            rows += self._rows(path, split, names, str(place.videos or place.folder), options)
        numbered = names is None
        if numbered:
            names = base.numbers_as_names(rows)
            said.append("classes have numbers and no names; name them with data.labels FILE")
        return Listing(format=self.name, source=place.path, rows=rows, class_names=names, notes=said, numbered=numbered)

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


# The folder's name may hold spaces. The number of frames is not believed: the images are counted where they lie.
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
    # The path's last word is no number: that would be TSN's count of frames.
    line=re.compile(r"(?P<path>(?:.*[ \t])?\S*[^\s\d]\S*)[ \t]+(?P<label>\d+)"),
    expected="`file label`",
    suffixes=(".txt", ".lst"),
).format()
SLOWFAST = NumberedList(
    name="slowfast",
    title="SlowFast's and PyTorchVideo's csv (path label)",
    # A space or a comma parts them, and no first line names columns.
    line=re.compile(r'"?(?P<path>(?:[^"]*[ ,\t])?[^\s,"]*[^\s,\d"][^\s,"]*)"?[ ,\t]+(?P<label>\d+)'),
    expected="`path label` or `path,label`",
    suffixes=(".csv",),
).format()
