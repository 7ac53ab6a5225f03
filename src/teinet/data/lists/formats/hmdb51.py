"""HMDB51: avi files in class folders; a list for each class and division: 1 trains, 2 is tested, 0 is not used."""

from __future__ import annotations

import os
import re

from teinet.data.lists.formats.base import Format, Listing, Options, Place, read_lines
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError, ConfigError

_NAME = re.compile(r"(.+)_test_split(\d)\.txt")
_VIDEOS = ("hmdb51_org", "hmdb51", "HMDB51", "videos")
_USE = {"0": None, "1": "train", "2": "test"}


def _recognise(place: Place) -> bool:
    return any(_NAME.fullmatch(name) for name in place.files)


def _read(place: Place, options: Options) -> Listing:
    root = str(place.find_videos(*_VIDEOS))
    rows: list[Row] = []
    names: set[str] = set()
    for name, path in place.files.items():
        match = _NAME.fullmatch(name)
        if match is None or int(match[2]) != options.division:
            continue
        label = path.name[: len(match[1])]  # as it is written, `name` is in lower case
        names.add(label)
        for line, text in read_lines(path):
            file, _, use = text.rpartition(" ")  # names of files hold all kinds of characters
            if use not in _USE or not file:
                raise AnnotationError(path, f"expected `file.avi 0|1|2`, found {text[:60]!r}", line)
            if _USE[use]:
                clip = os.path.join(root, label, file.strip())
                rows.append(Row(clip, label, _USE[use], name=file.strip(), file=str(path), line=line))
    if not rows:
        found = sorted({m[2] for name in place.files if (m := _NAME.fullmatch(name))})
        raise ConfigError(f"{place.path}: no division {options.division} of HMDB51 (there are {', '.join(found)})")
    return Listing(format="hmdb51", source=place.path, rows=rows, class_names=options.class_names or sorted(names))


HMDB51 = Format("hmdb51", "HMDB51 (avi, three divisions)", _recognise, _read)
