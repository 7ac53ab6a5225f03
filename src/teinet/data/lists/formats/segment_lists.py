"""Data sets of segments in longer videos: ActivityNet's JSON, AVA's, Charades' and EPIC-Kitchens' csv."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row

_AVA = re.compile(r"[\w-]+,\d+(\.\d+)?(,\d*\.?\d+){4},\d+(,\d+)?")  # video, second, box, action, person
_AVA_STEP = 1.0  # seconds from one annotated frame to the next
Rows = Callable[[Path, "Files", Sequence[str] | None], Iterator[Row]]
Files = Callable[[str], str]


def _read(
    format: str, find: Callable[[DataPath], list[Path]], rows: Rows, several: Rows
) -> Callable[[DataPath, Options], Listing]:
    def read(data: DataPath, options: Options) -> Listing:
        root = data.find_videos("videos", "Charades_v1_480", "Charades_v1", "v1-2", "v1-3")
        present = base.videos_below(root)

        def file(name: str) -> str:
            return present.get(name) or present.get(f"v_{name}") or str(root / f"{name}.mp4")

        names = options.class_names or _classes(data)
        chosen = several if options.multi_label else rows
        found = base.read_rows(data, format, find(data), lambda path: chosen(path, file, names))
        return Listing(format=format, source=data.path, rows=found, class_names=names, incomplete=format != "charades")

    return read


def _classes(data: DataPath) -> list[str] | None:
    """Return the names in Charades' or AVA's file of classes next to the list, in the order of their numbers."""
    for name, path in data.files.items() if data.is_folder else ():
        if name == "charades_v1_classes.txt":
            return [line.partition(" ")[2] for _, line in base.read_lines(path)]
        if name.startswith("ava_action_list") and name.endswith(".pbtxt"):
            return re.findall(r'name:\s*"([^"]*)"', read_text(path))
    return None


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    for values in reader:
        yield reader.line_num, {str(key): value or "" for key, value in values.items()}


def _activitynet(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    for name, video in json.loads(read_text(path))["database"].items():
        split = base.split_of(video.get("subset", ""))
        if not video.get("annotations"):
            yield Row(file(name), None, split, name=name)
        for each in video.get("annotations") or ():
            start, end = (str(second) for second in each["segment"])
            yield Row(file(name), each["label"], split, *base.span(start, end, path, None), name)


def _ava(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    """Yield the times in which an action was seen in consecutive annotated frames, of any person, once."""
    seen: dict[tuple[str, int], set[float]] = {}
    for _, line in base.read_lines(path):
        video, second, *box, action = line.split(",")[:7]
        if len(box) == 4 and action:  # a frame without an action has none
            seen.setdefault((video, int(action)), set()).add(float(second))
    for (video, action), seconds in seen.items():
        label = names[action - 1] if names and action <= len(names) else str(action)
        ordered = sorted(seconds)
        begin = ordered[0]
        for here, following in zip(ordered, [*ordered[1:], float("inf")]):
            if following - here > 1.5 * _AVA_STEP:
                yield Row(file(video), label, "", max(0.0, begin - _AVA_STEP / 2), here + _AVA_STEP / 2, video)
                begin = following


def _ava_seconds(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    """Yield each annotated second with an action seen in it, of any person."""
    for line, text in base.read_lines(path):
        video, second, *box, action = text.split(",")[:7]
        label = (names[int(action) - 1] if names and int(action) <= len(names) else action) if len(box) == 4 else None
        begin = max(0.0, float(second) - _AVA_STEP / 2)
        yield Row(file(video), label or None, "", begin, float(second) + _AVA_STEP / 2, video, line=line)


def _charades(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    for line, values in _table(path):
        actions = [text.split() for text in values["actions"].split(";") if text]
        if not actions:
            yield Row(file(values["id"]), None, name=values["id"], line=line)
        for number, start, end in actions:
            label = names[int(number[1:])] if names else number
            if float(start) < float(end):  # a few have no length
                yield Row(file(values["id"]), label, "", *base.span(start, end, path, line), values["id"], line=line)


def _charades_videos(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    """Yield each video with all its actions, as the data set's own classification task has it."""
    for line, values in _table(path):
        numbers = [text.split()[0] for text in values["actions"].split(";") if text]
        label, *more = [names[int(number[1:])] if names else number for number in numbers] or [None]
        yield Row(file(values["id"]), label, name=values["id"], line=line, more=tuple(filter(None, more)))


def _epic(path: Path, file: Files, names: Sequence[str] | None) -> Iterator[Row]:
    """Yield segments with the verb as label; `noun`, `narration` and the person are columns."""
    for line, values in _table(path):
        start, end = (str(_seconds(values[name])) for name in ("start_timestamp", "stop_timestamp"))
        columns = {name: values[name] for name in ("participant_id", "noun", "narration") if values.get(name)}
        span = base.span(start, end, path, line)
        yield Row(file(values["video_id"]), values.get("verb") or None, "", *span, line=line, columns=columns)


def _seconds(clock: str) -> float:
    """Return the seconds of 00:01:02.50."""
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return round(total, 6)


def _lists(suffix: str, is_one: Callable[[Path], bool]) -> Callable[[DataPath], list[Path]]:
    return lambda data: [path for name, path in data.files.items() if name.endswith(suffix) and is_one(path)]


def _with_columns(*needed: str) -> Callable[[Path], bool]:
    return lambda path: set(needed) <= {column.strip().strip('"') for column in base.first_line(path).split(",")}


def _format(
    name: str, title: str, find: Callable[[DataPath], list[Path]], rows: Rows, several: Rows | None = None
) -> Format:
    """Return a format; `several` are its rows for `data.multi_label`, where others suit several labels of a clip."""
    return Format(name, title, lambda data: bool(find(data)), _read(name, find, rows, several or rows))


ACTIVITYNET = _format(
    "activitynet", "ActivityNet (JSON)", _lists(".json", lambda path: '"database"' in base.head(path)), _activitynet
)
AVA = _format(
    "ava", "AVA (csv)", _lists(".csv", lambda path: bool(_AVA.fullmatch(base.first_line(path)))), _ava, _ava_seconds
)
CHARADES = _format(
    "charades", "Charades (csv)", _lists(".csv", _with_columns("id", "actions", "length")), _charades, _charades_videos
)
EPIC = _format(
    "epic_kitchens", "EPIC-Kitchens (csv)",
    _lists(".csv", _with_columns("video_id", "start_timestamp", "stop_timestamp")), _epic,
)  # fmt: skip
