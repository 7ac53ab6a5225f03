"""Something-Something V1: a folder of JPEG pictures a clip, lists `id;class name`, and `id` alone in the test list."""

from __future__ import annotations

import os
import re
from pathlib import Path

from teinet.data.lists.formats.base import (
    Format,
    Listing,
    Options,
    Place,
    one_a_split,
    picture_pattern,
    read_lines,
    split_of,
)
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

_LINE = re.compile(r"\d+(;.+)?")
_FRAMES = ("20bn-something-something-v1", "frames", "rawframes")


def lists(place: Place) -> dict[Path, str]:
    """The csv files of such a data set with their splits; one file alone may have any name."""
    found = {}
    for name, path in place.files.items():
        other = "label" in name or "answer" in name
        if name.endswith(".csv") and not other and (split_of(name) or not place.is_folder):
            with path.open("rb") as file:
                head = file.readline(4096).decode("utf-8-sig", "replace").strip()
            if _LINE.fullmatch(head):
                found[path] = split_of(name)
    return found


def read(place: Place, options: Options, name: str, frames: tuple[str, ...]) -> Listing:
    """Read the lists of a data set of this kind; Jester is another."""
    root, pattern = str(place.find_videos(*frames)), picture_pattern(options.picture_names)
    rows: list[Row] = []
    for path, split in one_a_split(lists(place)).items():
        for line, text in read_lines(path):
            clip, _, label = text.partition(";")
            if not clip.isdecimal() or (not label and split not in ("test", "")):
                raise AnnotationError(path, f"expected `id;class name`, found {text[:60]!r}", line)
            folder = os.path.join(root, clip, pattern) if pattern else os.path.join(root, clip)
            rows.append(Row(folder, label.strip() or None, split, name=clip, file=str(path), line=line))
    if not rows:
        raise AnnotationError(place.path, f"no list of the kind of {name} here (*-train.csv, *-validation.csv)")
    names = options.class_names
    files = [p for n, p in place.files.items() if "label" in n and n.endswith(".csv")]
    if names is None and len(files) == 1:
        names = read_class_names(files[0])
    return Listing(format=name, source=place.path, rows=rows, class_names=names, submission="names")


def _recognise(place: Place) -> bool:
    return any("jester" not in path.name.lower() for path in lists(place))


def _read(place: Place, options: Options) -> Listing:
    return read(place, options, FORMAT.name, _FRAMES)


FORMAT = Format("something_v1", "Something-Something V1 (JPEG folders, csv)", _recognise, _read)
