"""Annotated segments of long recordings, as a list gives them: the ground truth that events are measured against."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import Row, select, unknown_label
from teinet.data.video.reader import VideoReader
from teinet.errors import AnnotationError, VideoError

_SLACK = 0.1  # seconds that a written end may lie behind the file's: people mark ends by hand


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a recording with one label: from `start` up to but without `end` (seconds)."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A file, when it ends (seconds), and its segments, in order of time and without overlap."""

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
    """Read recordings, in the order of the list, from its rows of path, label, start, end (seconds).

    A row without start is from the file's beginning, one without end up to its end; a path alone says: no segments.

    Args:
        path: the list, such as a csv with named columns.
        class_names: those that a label must be one of; None takes any.
        background: labels of the background class; their rows are checked, and make no segments.
        selection: rows to take, as `column=value,value`.
        root: the folder that the list's paths start from.

    Raises:
        AnnotationError: an unknown or absent label, a span invalid or beyond its file, an overlap; names file and line.
        ConfigError: a selection that fits no row.
        VideoError: a file that cannot be read, or a folder of images, which has no clock.
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
    """The rows of each file in a list of segments, labels checked; opens no video; raises as `read_annotations`."""
    rows = [row._replace(file=row.file or os.fspath(path)) for row in read_listing(path, root=root).rows]
    if selection is not None:
        rows = select(rows, selection, source=path)
    files: dict[str, list[Row]] = {}
    spelled: dict[str, str] = {}  # one file may be written in several ways: the first counts
    for row in rows:
        if row.label is None and (row.start is not None or row.end is not None):
            raise AnnotationError(row.file, "this segment has no label; give one", row.line)
        if class_names is not None and row.label not in (None, *class_names, *background):
            raise AnnotationError(row.file, unknown_label(str(row.label), class_names), row.line)
        files.setdefault(spelled.setdefault(os.path.realpath(row.path), row.path), []).append(row)
    return files


def end_beyond(row: Row, video: VideoReader) -> str | None:
    """Why a row's span does not lie inside its file; None where it does, up to a frame or 0.1 s."""
    if row.end is None or video.end_time is None:
        return None
    slack = max(_SLACK, 1 / video.frame_rate if video.frame_rate else 0.0)
    if row.end <= video.end_time + slack:
        return None
    return f"end {row.end:g} s lies beyond the video's, {video.end_time:.2f} s"


def read_recording(path: str, rows: Sequence[Row], *, background: Sequence[str] = ()) -> Recording:
    """One file and its segments, checked against its length and each other; raises as `read_annotations`."""
    video = VideoReader(path)
    if video.end_time is None:
        raise VideoError(path, "a folder of images has no clock, so it has no segments in seconds")
    for row in rows:
        reason = end_beyond(row, video)
        if (row.start or 0.0) >= video.end_time:
            reason = f"start {row.start or 0:g} s lies beyond the video's end, {video.end_time:.2f} s"
        if row.label is not None and reason:
            raise AnnotationError(row.file, reason, row.line)
    return recording_until(path, rows, video.end_time, background=background)


def recording_until(path: str, rows: Sequence[Row], end: float, *, background: Sequence[str] = ()) -> Recording:
    """One file and its segments up to `end` (seconds); opens no video; AnnotationError where two overlap."""
    found = [
        (Segment(label=row.label, start=row.start or 0.0, end=end if row.end is None else min(row.end, end)), row)
        for row in rows
        if row.label is not None and (row.start or 0.0) < end
    ]
    found.sort(key=lambda pair: pair[0].start)
    for (one, first), (other, row) in pairwise(found):
        if other.start < one.end - 1e-6:  # written numbers are rounded
            spans = f"{other.start:g} to {other.end:g} s ({other.label}) overlaps {one.start:g} to {one.end:g} s"
            reason = f"{spans} ({one.label}) of line {first.line}; one thing happens at a time in {path}"
            raise AnnotationError(row.file, reason, row.line)
    segments = tuple(segment for segment, _ in found if segment.label not in background)
    return Recording(path=path, seconds=end, segments=segments)
