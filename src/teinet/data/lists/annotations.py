"""Annotated segments of long recordings: the ground truth that detected events are measured against."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import Row, select, unknown_label
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import AnnotationError, VideoError

_SLACK = 0.1  # seconds that an end may exceed the file's, as people mark ends by hand


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a recording with one label: [`start`, `end`) in seconds."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A file with its length in seconds, and its segments in order of time and without overlap."""

    path: str
    seconds: float
    segments: tuple[Segment, ...]


def read_annotations(
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    background: Sequence[str] = (),
    selection: str | None = None,
    root: str | None = None,
) -> list[Recording]:
    """Read recordings, in the order of the list, from its rows of path, label, start and end in seconds.

    Start defaults to the beginning of the file, end to its end; a row with only a path is a file without segments.

    Args:
        path: the list, such as a csv with named columns.
        class_names: valid labels; None accepts any.
        background: labels of the background class; their rows are checked, but are no segments.
        selection: rows to take, as `column=value,value`.
        root: the folder that the list's paths are relative to.

    Raises:
        AnnotationError: an unknown or missing label, an invalid time, or an overlap; names file and line.
        ConfigError: no row matches the selection.
        VideoError: a file cannot be read, or is a folder of images, which has no timestamps.
    """
    rows = annotated_rows(path, class_names=class_names, background=background, selection=selection, root=root)
    return [read_recording(file, own, background=background) for file, own in rows.items()]


def annotated_rows(
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    background: Sequence[str] = (),
    selection: str | None = None,
    root: str | None = None,
) -> dict[str, list[Row]]:
    """Read the rows of each file in a list of segments and check labels, without opening videos.

    Arguments and errors are those of `read_annotations`.
    """
    rows = [row._replace(file=row.file or os.fspath(path)) for row in read_listing(path, root=root).rows]
    if selection is not None:
        rows = select(rows, selection, source=path)
    files: dict[str, list[Row]] = {}
    spelled: dict[str, str] = {}  # a file may have several paths: the first one is used
    for row in rows:
        if row.label is None and (row.start is not None or row.end is not None):
            raise AnnotationError(row.file, "this segment has no label; add one", row.line)
        if class_names is not None and row.label not in (None, *class_names, *background):
            raise AnnotationError(row.file, unknown_label(str(row.label), class_names), row.line)
        files.setdefault(spelled.setdefault(os.path.realpath(row.path), row.path), []).append(row)
    return files


def end_beyond(row: Row, video: VideoReader) -> str | None:
    """Return the message on an end after the file's, with a tolerance of one frame or 0.1 s; None if it is valid."""
    if row.end is None or video.end_time is None:
        return None
    slack = max(_SLACK, 1 / video.frame_rate if video.frame_rate else 0.0)
    if row.end <= video.end_time + slack:
        return None
    return f"end {row.end:g} s is after the end of the video, {video.end_time:.2f} s"


def read_recording(path: str, rows: Sequence[Row], *, background: Sequence[str] = ()) -> Recording:
    """Return a file with its segments, checked against its length and each other; raises as `read_annotations`."""
    video = VideoReader(file_of_list(path))
    if video.end_time is None:
        raise VideoError(path, "a folder of images has no timestamps, so it cannot have segments in seconds")
    for row in rows:
        reason = end_beyond(row, video)
        if (row.start or 0.0) >= video.end_time:
            reason = f"start {row.start or 0:g} s is after the end of the video, {video.end_time:.2f} s"
        if row.label is not None and reason:
            raise AnnotationError(row.file, reason, row.line)
    return recording_until(path, rows, video.end_time, background=background)


def recording_until(path: str, rows: Sequence[Row], end: float, *, background: Sequence[str] = ()) -> Recording:
    """Return a file with its segments up to `end` (seconds), without opening it; AnnotationError if two overlap."""
    found = [
        (Segment(label=row.label, start=row.start or 0.0, end=end if row.end is None else min(row.end, end)), row)
        for row in rows
        if row.label is not None and (row.start or 0.0) < end
    ]
    found.sort(key=lambda pair: pair[0].start)
    for (one, first), (other, row) in pairwise(found):
        if other.start < one.end - 1e-6:  # numbers in files are rounded
            spans = f"{other.start:g} to {other.end:g} s ({other.label}) overlaps {one.start:g} to {one.end:g} s"
            reason = f"{spans} ({one.label}) of line {first.line}; segments of one file must not overlap ({path})"
            raise AnnotationError(row.file, reason, row.line)
    segments = tuple(segment for segment, _ in found if segment.label not in background)
    return Recording(path=path, seconds=end, segments=segments)
