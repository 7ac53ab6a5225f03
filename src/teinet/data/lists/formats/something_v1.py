"""Something-Something V1 and Jester: a folder of JPEGs a clip; lists `id;class name`, or `id` alone to be tested."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import Format, Listing, Options, Place
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

_LINE = re.compile(r"\d+(;.+)?")


def _lists(place: Place) -> dict[Path, str]:
    """The csv files of such a data set with their splits; one file alone may have any name."""
    found = {}
    for name, path in place.files.items():
        other = "label" in name or "answer" in name
        wanted = name.endswith(".csv") and not other and (base.split_of(name) or not place.is_folder)
        if wanted and _LINE.fullmatch(base.first_line(path)):
            found[path] = base.split_of(name)
    return found


def _reader(format: str, *folders: str) -> Callable[[Place, Options], Listing]:
    def read(place: Place, options: Options) -> Listing:
        root, pattern = str(place.find_videos(*folders)), base.picture_pattern(options.picture_names) or ""
        rows: list[Row] = []
        for path, split in base.one_a_split(_lists(place)).items():
            for line, text in base.read_lines(path):
                clip, _, label = text.partition(";")
                if not clip.isdecimal() or (not label and split not in ("test", "")):
                    raise AnnotationError(path, f"expected `id;class name`, found {text[:60]!r}", line)
                folder = os.path.join(root, clip, pattern).rstrip(os.sep)
                rows.append(Row(folder, label.strip() or None, split, name=clip, file=str(path), line=line))
        if not rows:
            raise AnnotationError(place.path, f"no list of the kind of {format} here (*-train.csv, *-validation.csv)")
        names = options.class_names
        files = [p for n, p in place.files.items() if "label" in n and n.endswith(".csv")]
        if names is None and len(files) == 1:
            names = read_class_names(files[0])
        return Listing(format=format, source=place.path, rows=rows, class_names=names, submission="names")

    return read


SOMETHING_V1 = Format(
    "something_v1",
    "Something-Something V1 (JPEG folders, csv)",
    lambda place: any("jester" not in path.name.lower() for path in _lists(place)),
    _reader("something_v1", "20bn-something-something-v1", "frames", "rawframes"),
)
JESTER = Format(
    "jester",
    "Jester (JPEG folders, csv)",
    lambda place: any("jester" in path.name.lower() for path in _lists(place)),
    _reader("jester", "20bn-jester-v1", "frames", "rawframes"),
)
