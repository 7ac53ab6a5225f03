"""UCF101 and HMDB51: avi files in class folders, and three official splits into training and test."""

from __future__ import annotations

import os
import re

from teinet.data.lists.formats.base import DataPath, Format, Listing, Options, read_lines
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError, ConfigError

_UCF_LIST = re.compile(r"(train|test)list0(\d)\.txt")
_HMDB_LIST = re.compile(r"(.+)_test_split(\d)\.txt")  # one for each class
_HMDB_USE = {"0": None, "1": "train", "2": "test"}


def _read_ucf(data: DataPath, options: Options) -> Listing:
    root = str(data.find_videos("UCF-101", "UCF101", "ucf101", "videos"))
    rows: list[Row] = []
    for name, path in data.files.items():
        match = _UCF_LIST.fullmatch(name)
        if match is None or (data.is_folder and int(match[2]) != options.official_split):
            continue
        for line, text in read_lines(path):
            before, _, number = text.rpartition(" ")  # the index of the class, in lists of training clips
            label, slash, file = (before if number.isdecimal() else text).partition("/")
            if not slash or not file.lower().endswith(".avi"):
                raise AnnotationError(path, f"expected `Class/v_Class_g01_c01.avi`, found {text[:60]!r}", line)
            clip = os.path.join(root, label, file)
            rows.append(Row(clip, label, match[1], name=file.rpartition(".")[0], file=str(path), line=line))
    names = options.class_names
    if names is None and "classind.txt" in data.files:
        names = read_class_names(data.files["classind.txt"])
    _refuse_empty(rows, data, options, _UCF_LIST, "UCF101")
    return Listing(format="ucf101", source=data.path, rows=rows, class_names=names)


def _read_hmdb(data: DataPath, options: Options) -> Listing:
    root = str(data.find_videos("hmdb51_org", "hmdb51", "HMDB51", "videos"))
    rows: list[Row] = []
    names: set[str] = set()
    for name, path in data.files.items():
        match = _HMDB_LIST.fullmatch(name)
        if match is None or int(match[2]) != options.official_split:
            continue
        label = path.name[: len(match[1])]  # `name` is in lower case
        names.add(label)
        for line, text in read_lines(path):
            file, _, use = text.rpartition(" ")  # file names have all kinds of characters
            if use not in _HMDB_USE or not file:
                raise AnnotationError(path, f"expected `file.avi 0|1|2`, found {text[:60]!r}", line)
            if split := _HMDB_USE[use]:
                clip = os.path.join(root, label, file.strip())
                rows.append(Row(clip, label, split, name=file.strip(), file=str(path), line=line))
    _refuse_empty(rows, data, options, _HMDB_LIST, "HMDB51")
    return Listing(format="hmdb51", source=data.path, rows=rows, class_names=options.class_names or sorted(names))


def _refuse_empty(rows: list[Row], data: DataPath, options: Options, pattern: re.Pattern[str], title: str) -> None:
    if not rows:
        found = ", ".join(sorted({m[2] for name in data.files if (m := pattern.fullmatch(name))}))
        raise ConfigError(f"{data.path}: no official split {options.official_split} of {title}; choose from {found}")


UCF101 = Format(
    "ucf101", "UCF101 (avi, three splits)", lambda data: any(map(_UCF_LIST.fullmatch, data.files)), _read_ucf
)
HMDB51 = Format(
    "hmdb51", "HMDB51 (avi, three splits)", lambda data: any(map(_HMDB_LIST.fullmatch, data.files)), _read_hmdb
)
