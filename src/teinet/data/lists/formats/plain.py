"""The library's own formats: a folder per class, and a csv or JSON Lines with named columns."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_text, refuse_half_characters
from teinet.data.lists.rows import SPLITS, Row
from teinet.data.video.reader import is_video
from teinet.errors import AnnotationError, nearest
from teinet.utils.text import other_names

_OWN = ("path", "label", "split", "start", "end", "name")
_SECONDS, _NUMBERS = ("start", "end"), (int, float)
_SEVERAL = "several labels per clip need data.multi_label, and in a csv the form a|b"
Record = tuple[int, dict[str, str]]  # line, values by column


def _read_folders(data: DataPath, options: Options) -> Listing:
    root = data.path
    folders = _folders(root)
    splits = {d: split for d in folders if (split := base.split_of(d.name)) and d.name.isalpha()}
    if "train" not in splits.values() or any(is_video(p) for d in splits for p in d.iterdir()):
        splits = {}  # classes may be named "test" or "train": these folders have videos, not class folders
    rows: list[Row] = []
    for folder, split in (splits or {root: ""}).items():
        for directory in _folders(folder):
            videos = sorted(p for p in directory.iterdir() if not p.name.startswith(".") and is_video(p))
            files = [p for p in videos if p.is_file()]
            if not videos:
                others = other_names(list(_others(directory, set())))
                reason = f"this class folder has no videos{others}; add some or remove the folder"
                raise AnnotationError(directory, reason)
            if files and options.image_names is None:  # folders of images next to videos are their thumbnails
                videos = files
            rows += [Row(str(p), directory.name, split) for p in videos]
    if not rows:
        flat = any(is_video(p) for p in root.iterdir())
        found = "its videos are not in class folders" if flat else "no videos found"
        raise AnnotationError(root, f"{found}; expected a folder of videos per class, or a list of clips (data.format)")
    others = other_names(list(_others(root, {row.path for row in rows})))
    notes = [f"ignored{others}: clips are the videos directly inside a class folder"] if others else []
    return Listing(format="folders", source=root, rows=rows, class_names=options.class_names, notes=notes)


def _others(folder: Path, taken: Container[str]) -> Iterator[str]:
    """Yield the files below a folder that are no clips, folders of images as one; links to folders are not followed."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or str(entry) in taken:
            continue
        if entry.is_dir() and not entry.is_symlink() and not is_video(entry):
            yield from _others(entry, taken)
        else:
            yield str(entry)


def _folders(folder: Path) -> list[Path]:
    return sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))


def _is_table(data: DataPath) -> bool:
    return not data.is_folder and data.path.suffix.lower() in (".csv", ".jsonl", ".ndjson")


def _read_table(data: DataPath, options: Options) -> Listing:
    path = data.path
    if data.is_folder:
        raise AnnotationError(path, "is a folder; format table needs a csv or .jsonl file")
    records = _json_lines(path, options.multi_label) if base.first_line(path).startswith("{") else _csv(path)
    clip, file = base.under(data.videos or path.parent), str(path)
    rows = [_row(values, path, file, line, clip, options.multi_label) for line, values in records]
    if not rows:
        raise AnnotationError(path, "the list has no clips; add lines after the header")
    return Listing(format="table", source=path, rows=rows, class_names=options.class_names)


def _csv(path: Path) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if "path" not in names:
            found = ", ".join(names[:8])[:120] or "an empty line"
            hint = ", separated by commas" if ";" in found or "\t" in found else ""
            reason = f"the first line must name the columns, including `path`{hint}; found {found}"
            meant = next((name for name in names if nearest(name, ["path"], cutoff=0.75)), None)
            reason += f". Did you mean `path` by `{meant}`?" if meant else ""
            raise AnnotationError(path, reason, 1)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise AnnotationError(path, f"the first line has the column {', '.join(twice)} twice; rename one", 1)
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                counts = f"the number of fields is {len(values)}, but the header has {len(names)}"
                raise AnnotationError(path, f"{counts}; put values with commas in double quotes", reader.line_num)
            yield reader.line_num, dict(zip(names, map(str.strip, values)))
    except csv.Error as error:
        raise AnnotationError(path, f"not a csv: {error}", reader.line_num) from error


def _json_lines(path: Path, multi_label: bool) -> Iterator[Record]:
    for line, text in base.read_lines(path):
        try:
            values = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(path, f"this line is not a JSON object ({error})", line) from None
        if not isinstance(values, dict) or not isinstance(values.get("path"), str):
            reason = 'expected an object with a "path", such as {"path": "a.mp4", "label": "x"}'
            raise AnnotationError(path, reason, line)
        if "\\u" in text:
            refuse_half_characters(json.dumps(values, ensure_ascii=False), path, line)
        try:
            yield line, {key: _text(key, value, multi_label) for key, value in values.items()}
        except ValueError as error:
            raise AnnotationError(path, str(error), line) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"it has {twice[0]!r} twice")
    return dict(pairs)


def _text(key: str, value: Any, multi_label: bool = False) -> str:
    """Return a JSON value as a csv has it; ValueError for one that has no such form."""
    if multi_label and key == "label" and isinstance(value, list):
        names = [_text(key, name) for name in value]
        if odd := [name for name in names if not name or "|" in name]:
            raise ValueError(f"the label {odd[0]!r} of a list is empty, or has a |, which separates labels")
        return "|".join(names)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    text = json.dumps(value, ensure_ascii=False)
    if key in _OWN and (isinstance(value, bool) or not isinstance(value, _NUMBERS if key in _SECONDS else int)):
        hint = f"; {_SEVERAL}" if key == "label" and isinstance(value, list) else ""
        expected = "a number of seconds" if key in _SECONDS else "a text or a whole number"
        raise ValueError(f"the {key} is {text[:60]}; expected {expected}{hint}")
    return text


def _is_structure(label: str) -> bool:
    """Return true if a label is the text of a list or an object, and not a name such as `[Something] falling`."""
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return isinstance(parse(label), (list, dict, tuple, set))
    return False


def _row(
    values: dict[str, str], path: Path, file: str, line: int, clip: Callable[[str], str], multi_label: bool
) -> Row:
    if not values["path"]:
        raise AnnotationError(path, "this line has no path; add one", line)
    start, end = base.span(values.get("start"), values.get("end"), path, line)
    written = values.get("split", "")
    split = base.split_of(written) if written else ""
    if written and not split:
        raise AnnotationError(path, f"split {written!r} does not exist; use one of {', '.join(SPLITS)}", line)
    label, name = values.get("label") or None, values.get("name", "")
    if label and label[0] in "[{(" and _is_structure(label):
        reason = f"label {label[:60]!r} is a list or an object; {_SEVERAL}"
        raise AnnotationError(path, reason, line)
    label, *more = map(str.strip, label.split("|")) if multi_label and label else [label]
    if more and not all((label, *more)):
        raise AnnotationError(path, f"label {values['label'][:60]!r} has an empty name next to a |; remove it", line)
    columns = {key: value for key, value in values.items() if key not in _OWN}
    return Row(clip(values["path"]), label, split, start, end, name, file, line, columns, tuple(map(str, more)))


# Both are tried after the others: any folder may have class folders, and any csv is a table.
TABLE = Format("table", "a csv or JSON Lines with named columns", _is_table, _read_table)
FOLDERS = Format("folders", "a folder per class", lambda data: data.is_folder, _read_folders)
