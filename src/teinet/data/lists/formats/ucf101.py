"""UCF101: avi files in class folders, and three official divisions into training and test."""

from __future__ import annotations

import os
import re

from teinet.data.lists.formats.base import Format, Listing, Options, Place, read_lines
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError, ConfigError

_NAME = re.compile(r"(train|test)list0(\d)\.txt")
_VIDEOS = ("UCF-101", "UCF101", "ucf101", "videos")


def _recognise(place: Place) -> bool:
    return any(_NAME.fullmatch(name) for name in place.files)


def _read(place: Place, options: Options) -> Listing:
    root = str(place.find_videos(*_VIDEOS))
    rows: list[Row] = []
    for name, path in place.files.items():
        match = _NAME.fullmatch(name)
        if match is None or (place.is_folder and int(match[2]) != options.division):
            continue
        for line, text in read_lines(path):
            clip = (
                text.rpartition(" ")[0] if text.rpartition(" ")[2].isdecimal() else text
            )  # a number follows in training
            label, slash, file = clip.partition("/")
            if not slash or not file.lower().endswith(".avi"):
                raise AnnotationError(path, f"expected `Class/v_Class_g01_c01.avi`, found {text[:60]!r}", line)
            clip = os.path.join(root, label, file)
            rows.append(Row(clip, label, match[1], name=file.rpartition(".")[0], file=str(path), line=line))
    if not rows:
        found = sorted({m[2] for name in place.files if (m := _NAME.fullmatch(name))})
        raise ConfigError(f"{place.path}: no division {options.division} of UCF101 (there are {', '.join(found)})")
    names = options.class_names
    if names is None and "classind.txt" in place.files:
        names = read_class_names(place.files["classind.txt"])
    return Listing(format="ucf101", source=place.path, rows=rows, class_names=names)


UCF101 = Format("ucf101", "UCF101 (avi, three divisions)", _recognise, _read)
