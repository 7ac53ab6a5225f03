"""Kinetics: csv files with label, YouTube id and seconds; videos in any folders, named as by the common downloaders.

`<id>_000010_000020.mp4`, `<id>_10_20.mp4`, or `<id>.mp4`, which may be a whole video: the list has the clip's seconds.
"""

from __future__ import annotations

import csv
import io
import os
from itertools import islice
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import AnnotationError, VideoError

_NEEDED = ("youtube_id", "time_start", "time_end")
_PROBED = 10
_TRIMMED = 2.0  # seconds by which a trimmed clip may be longer than in the list


def _lists(data: DataPath) -> dict[Path, str]:
    found = {}
    for name, path in data.files.items():
        if name.endswith(".csv"):
            columns = {c.strip().strip('"') for c in base.first_line(path).split(",")}
            if columns.issuperset(_NEEDED):
                found[path] = base.split_of(name)
    return found


def _read(data: DataPath, options: Options) -> Listing:
    lists = _lists(data)
    if not lists:
        columns = f"{', '.join(_NEEDED[:-1])} and {_NEEDED[-1]}"
        raise AnnotationError(data.path, f"no csv of Kinetics found; give one with columns {columns}")
    inside = data.folder.name in ("annotations", "annotation", "lists", "labels")
    root = data.videos or (data.folder.parent if inside else data.folder)
    present = base.videos_below(root)
    rows: list[Row] = []
    for path, split in base.one_a_split(lists).items():
        try:
            rows += _rows(path, split, root, present)
        except csv.Error as error:
            raise AnnotationError(path, f"not a csv: {error}") from None
    rows, notes = _whole_videos(rows)
    there = set(present.values())
    absent = [position for position, row in enumerate(rows) if row.path not in there]
    names = options.class_names or sorted({row.label for row in rows if row.label is not None})
    return Listing(
        format="kinetics", source=data.path, rows=rows, class_names=names, notes=notes, absent=absent, incomplete=True
    )


def _rows(path: Path, split: str, root: Path, present: dict[str, str]) -> list[Row]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    columns = [name.strip() for name in next(reader)]
    places = [columns.index(name) if name in columns else None for name in (*_NEEDED, "label", "split")]
    list_file, join = str(path), base.under(root)
    rows = []
    for values in reader:
        if not values:
            continue
        line = reader.line_num
        if len(values) != len(columns):
            counts = f"the number of fields is {len(values)}, but the header has {len(columns)}"
            raise AnnotationError(path, counts, line)
        clip, first, last, label, listed = ("" if column is None else values[column].strip() for column in places)
        start, end = base.span(first, last, path, line)
        if not clip or start is None or end is None:
            raise AnnotationError(path, "this line lacks youtube_id, time_start or time_end", line)
        name = f"{clip}_{int(start):06d}_{int(end):06d}"
        file, whole = present.get(name) or present.get(f"{clip}_{int(start)}_{int(end)}"), False
        if file is None:
            file, whole = present.get(clip), True
        times = (start, end) if whole and file is not None else (None, None)
        file = file or join(f"{label}/{name}.mp4")  # the usual path
        rows.append(Row(file, label or None, base.split_of(listed) or split, *times, name, list_file, line))
    return rows


def _whole_videos(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Return rows and notes with times only for whole videos; a few files named by the id alone decide this."""
    named = None
    clips = ((row.path, row.end - (row.start or 0)) for row in rows if row.end is not None)
    for path, length in islice(clips, _PROBED):
        try:
            duration = VideoReader(file_of_list(path)).duration or 0
        except VideoError:
            continue
        named = os.path.basename(path)
        if duration > length + _TRIMMED:  # one is enough, as a whole video may be short
            return rows, [f"files such as {named} are whole videos; the list's seconds select the clips"]
    if named is None:
        return rows, []
    cut = [row._replace(start=None, end=None) for row in rows]
    return cut, [f"files such as {named} are trimmed clips; the list's seconds are not used"]


KINETICS = Format("kinetics", "Kinetics-400 (csv)", lambda data: bool(_lists(data)), _read)
