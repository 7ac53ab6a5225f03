"""Lists of labeling tools: Label Studio's JSON, CVAT's XML, VIA's csv and ELAN's .eaf, as segments in seconds.

Sources: labelstud.io/guide/export, docs.cvat.ai (CVAT for video 1.1), VIA 3's export to csv, and EAF 2.8 to 3.0.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import AnnotationError, VideoError

_RANGES = "timelinelabels"  # of Label Studio: spans by frame numbers from 1
_KINDS = ("choices", "labels", "videolabels")


class _Finder:
    """Finds the files that a tool's list names by their paths elsewhere, and the seconds of their frames."""

    def __init__(self, data: DataPath):
        self.root = data.find_videos("videos", "media", "clips")
        self._present = cache(lambda: base.videos_below(self.root))
        self.times = cache(self._times)

    def path(self, address: str) -> str:
        """Return the file of an address, or the place where it is expected."""
        parts = urlsplit(address)
        local = parse_qs(parts.query).get("d", [""])[0]  # Label Studio's /data/local-files/?d=folder/clip.mp4
        name = unquote(local or parts.path if parts.scheme in ("", "http", "https", "file", "s3", "gs") else address)
        name = name.replace("\\", "/")
        for own in (Path(name), self.root / name.lstrip("/"), self.root / PurePosixPath(name).name):
            with suppress(OSError):
                if own.exists():
                    return str(own)
        stem = PurePosixPath(name).stem  # Label Studio puts 8 characters and a dash before an upload's name
        found = self._present().get(stem) or self._present().get(stem.partition("-")[2])
        return found or str(self.root / PurePosixPath(name).name)

    def _times(self, path: str) -> list[float]:
        reader = VideoReader(file_of_list(path))
        return [*reader.times.tolist(), float(reader.end_time or reader.times[-1])]

    def seconds(self, path: str, first: int, end: int, list_file: Path) -> tuple[float | None, float | None]:
        """Return the seconds of frames `first` to before `end`, counted from 0; None for a file that cannot be read."""
        try:
            times = self.times(path)
        except VideoError:
            return None, None
        if not 0 <= first < end or first >= len(times) - 1:
            count = len(times) - 1
            raise AnnotationError(list_file, f"frames {first} to {end} of {path} are invalid; it has {count} frames")
        return times[first], times[min(end, len(times) - 1)]


def _holding(suffix: str, *marks: str) -> Callable[[DataPath], list[Path]]:
    """Return a function that gives the lists with a suffix that begin with all of some texts."""

    def find(data: DataPath) -> list[Path]:
        found = [path for name, path in data.files.items() if name.endswith(suffix)]
        return [path for path in found if all(mark in base.head(path) for mark in marks)]

    return find


def _label_studio(path: Path, finder: _Finder) -> Iterator[Row]:
    for number, task in enumerate(json.loads(read_text(path)), 1):
        data = task["data"]
        address = data.get("video") or data.get("video_url") or next(v for v in data.values() if isinstance(v, str))
        file = finder.path(address)
        any_label = False
        for answer in task.get("annotations") or task.get("completions") or []:
            for each in answer.get("result", ()) if not answer.get("was_cancelled") else ():
                for label, start, end in _label_studio_spans(each, file, finder, path):
                    any_label = True
                    yield Row(file, label, "", start, end, str(task.get("id", "")), line=number)
        if not any_label:
            yield Row(file, None, name=str(task.get("id", "")), line=number)


def _label_studio_spans(
    each: dict[str, Any], file: str, finder: _Finder, path: Path
) -> Iterator[tuple[str, float | None, float | None]]:
    value = each.get("value", {})
    if each.get("type") == _RANGES:
        for one in value["ranges"]:
            start, end = finder.seconds(file, int(one["start"]) - 1, int(one["end"]), path)
            for label in value[_RANGES]:
                yield label, start, end
    elif each.get("type") in _KINDS:
        start, end = value.get("start"), value.get("end")
        for label in value.get(each["type"]) or value.get("labels") or ():
            yield label, *base.span(_text(start), _text(end), path, None)


def _text(number: Any) -> str | None:
    return None if number is None else str(number)


def _cvat(path: Path, finder: _Finder) -> Iterator[Row]:
    """Yield the spans of tracks, from their first frame that is not outside to the one before they are outside."""
    root = ElementTree.fromstring(read_text(path))
    task = root.find("meta/task") if root.find("meta/task") is not None else root.find("meta/job")
    source = root.findtext("meta/source") or (task.findtext("source") if task is not None else None)
    first = int((task.findtext("start_frame") if task is not None else None) or 0)
    step = (task.findtext("frame_filter") if task is not None else None) or ""
    every = int(step.rpartition("=")[2] or 1)
    for track in root.iter("track"):
        name = track.get("source_name") or source
        if not name:
            raise AnnotationError(path, "is a list of CVAT that names no video (source)")
        file, begin = finder.path(name), None
        shapes = sorted(track, key=lambda shape: int(shape.get("frame", 0)))
        for shape in shapes:
            frame, is_outside = int(shape.get("frame", 0)), shape.get("outside") == "1"
            if begin is None and not is_outside:
                begin = frame
            elif begin is not None and is_outside:
                times = finder.seconds(file, first + begin * every, first + frame * every, path)
                yield Row(file, track.get("label"), "", *times)
                begin = None
        if begin is not None:
            end = first + (int(shapes[-1].get("frame", 0)) + 1) * every
            yield Row(file, track.get("label"), "", *finder.seconds(file, first + begin * every, end, path))


def _via(path: Path, finder: _Finder) -> Iterator[Row]:
    lines = read_text(path).splitlines()
    header = next(line for line in lines if line.startswith("# CSV_HEADER"))
    columns = [name.strip() for name in header.partition("=")[2].split(",")]
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        values = dict(zip(columns, next(csv.reader(io.StringIO(line)))))
        times, said = json.loads(values["temporal_coordinates"]), json.loads(values["metadata"])
        labels = [text for text in said.values() if text] or [None]
        start, end = (str(times[i]) if i < len(times) else None for i in range(2))
        span = base.span(start, end, path, number)
        for label in labels:
            yield Row(finder.path(json.loads(values["file_list"])[0]), label, "", *span, line=number)


def _elan(path: Path, finder: _Finder) -> Iterator[Row]:
    root = ElementTree.fromstring(read_text(path))
    media = [m.get("RELATIVE_MEDIA_URL") or m.get("MEDIA_URL") or "" for m in root.iter("MEDIA_DESCRIPTOR")]
    video = next((m for m in media if Path(urlsplit(m).path).suffix.lower() != ".wav"), None)
    if video is None:
        raise AnnotationError(path, "is a list of ELAN that names no video (MEDIA_DESCRIPTOR)")
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    file = finder.path(video)
    for tier in root.iter("TIER"):
        for each in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (slots[each.get(f"TIME_SLOT_REF{number}")] for number in (1, 2))
            if start is None or end is None:  # a slot without a time lies between two that have one
                raise AnnotationError(path, f"an annotation of tier {tier.get('TIER_ID')} has no time")
            span = base.span(str(int(start) / 1000), str(int(end) / 1000), path, None)
            label = (each.findtext("ANNOTATION_VALUE") or "").strip() or None
            yield Row(file, label, "", *span, columns={"tier": tier.get("TIER_ID") or ""})


def _format(
    name: str, title: str, find: Callable[[DataPath], list[Path]], rows: Callable[[Path, _Finder], Iterator[Row]]
) -> Format:
    def read(data: DataPath, options: Options) -> Listing:
        finder = _Finder(data)
        found = base.read_rows(data, name, find(data), lambda path: rows(path, finder))
        return Listing(format=name, source=data.path, rows=found, class_names=options.class_names)

    return Format(name, title, lambda data: bool(find(data)), read)


_IS_LABEL_STUDIO = _holding(".json", '"annotations"', '"data"')
LABEL_STUDIO = _format("label_studio", "Label Studio (JSON)", _IS_LABEL_STUDIO, _label_studio)
CVAT = _format("cvat", "CVAT for video (XML)", _holding(".xml", "<annotations>", "<track"), _cvat)
VIA = _format("via", "VIA 3 (csv)", _holding(".csv", "# CSV_HEADER", "temporal_coordinates"), _via)
ELAN = _format("elan", "ELAN (.eaf)", _holding(".eaf", "ANNOTATION_DOCUMENT"), _elan)
