"""A csv or JSON Lines with named columns: path and label; start and end (seconds), split, name; and any others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import Format, Listing, Options, Place
from teinet.data.lists.rows import SPLITS, Row
from teinet.errors import AnnotationError

_OWN = ("path", "label", "split", "start", "end", "name")
Record = tuple[int, dict[str, str]]  # line, values by column


def _recognise(place: Place) -> bool:
    return not place.is_folder and place.path.suffix.lower() in (".csv", ".jsonl", ".ndjson")  # asked after the others


def _read(place: Place, options: Options) -> Listing:
    path = place.path
    if place.is_folder:
        raise AnnotationError(path, "is a folder; format table wants one csv or .jsonl file")
    records = _json_lines(path) if base.first_line(path).startswith("{") else _csv(path)
    clip, file = base.under(place.videos or path.parent), str(path)
    rows = [_row(values, path, file, line, clip) for line, values in records]
    if not rows:
        raise AnnotationError(path, "the list holds no clips")
    return Listing(format="table", source=path, rows=rows, class_names=options.class_names)


def _csv(path: Path) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(base.read_text(path), newline=""), skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if "path" not in names:
            found = ", ".join(names[:8])[:120] or "nothing"
            hint = "; fields are separated by commas" if ";" in found or "\t" in found else ""
            raise AnnotationError(
                path, f"the first line must name the columns, `path` among them{hint}; found: {found}", 1
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise AnnotationError(path, f"the first line names {', '.join(twice)} twice", 1)
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                advice = "a name that holds a comma stands in double quotes"
                reason = f"this line has another number of fields than the first one; {advice}"
                raise AnnotationError(path, reason, reader.line_num)
            yield reader.line_num, dict(zip(names, map(str.strip, values)))
    except csv.Error as error:
        raise AnnotationError(path, f"not a csv: {error}", reader.line_num) from error


def _json_lines(path: Path) -> Iterator[Record]:
    for line, text in base.read_lines(path):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise AnnotationError(path, f"not a JSON object ({error})", line) from None
        if not isinstance(values, dict) or not isinstance(values.get("path"), str):
            raise AnnotationError(
                path, 'expected an object with a "path", such as {"path": "a.mp4", "label": "x"}', line
            )
        yield line, {key: "" if value is None else str(value) for key, value in values.items()}


def _row(values: dict[str, str], path: Path, file: str, line: int, clip: Callable[[str], str]) -> Row:
    if not values["path"]:
        raise AnnotationError(path, "this line names no path", line)
    start, end = base.span(values.get("start"), values.get("end"), path, line)
    split = values.get("split", "")
    if split and (told := base.split_of(split)):
        split = told
    elif split:
        raise AnnotationError(path, f"split {split!r} is none of {', '.join(SPLITS)}", line)
    label, name = values.get("label") or None, values.get("name", "")
    columns = {key: value for key, value in values.items() if key not in _OWN}
    return Row(clip(values["path"]), label, split, start, end, name, file, line, columns)


TABLE = Format("table", "a csv or JSON Lines with named columns", _recognise, _read)
