"""Something-Something V1 and V2 and Jester: JPEG folders with lists `id;class name`, or webm files with JSON lists."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_class_names, read_text, refuse_half_characters
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

_LINE = re.compile(r"\d+(;.+)?")
_ENTRY = re.compile(rb'\s*\[\s*\{\s*"(id|label|template|placeholders)"')


def _csv_lists(data: DataPath) -> dict[Path, str]:
    """Return the csv files of V1 or Jester with their splits; a single file may have any name."""
    found = {}
    for name, path in data.files.items():
        other = "label" in name or "answer" in name
        wanted = name.endswith(".csv") and not other and (base.split_of(name) or not data.is_folder)
        if wanted and _LINE.fullmatch(base.first_line(path)):
            found[path] = base.split_of(name)
    return found


def _csv_reader(format: str, *folders: str) -> Callable[[DataPath, Options], Listing]:
    def read(data: DataPath, options: Options) -> Listing:
        root = str(data.find_videos(*folders))
        rows: list[Row] = []
        for path, split in base.one_a_split(_csv_lists(data)).items():
            for line, text in base.read_lines(path):
                clip, _, label = text.partition(";")
                if not clip.isdecimal() or (not label and split not in ("test", "")):
                    raise AnnotationError(path, f"expected `id;class name`, found {text[:60]!r}", line)
                folder = os.path.join(root, clip)
                rows.append(Row(folder, label.strip() or None, split, name=clip, file=str(path), line=line))
        if not rows:
            raise AnnotationError(data.path, f"no list of format {format} found (*-train.csv, *-validation.csv)")
        names = options.class_names
        files = [p for n, p in data.files.items() if "label" in n and n.endswith(".csv")]
        if names is None and len(files) == 1:
            names = read_class_names(files[0])
        return Listing(format=format, source=data.path, rows=rows, class_names=names, submission="names")

    return read


def _json_lists(data: DataPath) -> dict[Path, str]:
    found = {}
    for name, path in data.files.items():
        if name.endswith(".json") and (base.split_of(name) or not data.is_folder):
            with path.open("rb") as file:
                if _ENTRY.match(file.read(4096)):
                    found[path] = base.split_of(name)
    return found


def _read_json(data: DataPath, options: Options) -> Listing:
    root = str(data.find_videos("20bn-something-something-v2", "videos", "webm", "frames", "rawframes"))
    suffix = "" if options.image_names or _holds_folders(root) else ".webm"
    rows: list[Row] = []
    for path, split in base.one_a_split(_json_lists(data)).items():
        try:
            entries = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise AnnotationError(path, f"is not valid JSON ({error})", getattr(error, "lineno", None)) from None
        if not isinstance(entries, list):
            raise AnnotationError(path, "expected a JSON list of clips")
        for number, entry in enumerate(entries, 1):
            clip, label = _clip(entry, split, path, number)
            rows.append(Row(os.path.join(root, clip + suffix), label, split, name=clip, file=str(path), line=number))
    if not rows:
        raise AnnotationError(data.path, "no list of Something-Something V2 found (train.json, validation.json)")
    names = options.class_names
    if names is None and (files := [p for n, p in data.files.items() if n.endswith("labels.json")]):
        names = read_class_names(files[0])
    notes = ["line numbers of its lists count the entries of their JSON arrays, from 1"]
    return Listing(
        format="something_v2", source=data.path, rows=rows, class_names=names, notes=notes, submission="numbers"
    )


def _clip(entry: Any, split: str, path: Path, number: int) -> tuple[str, str | None]:
    """Return the id and the class of an entry, which is its template without square brackets."""
    clip = entry.get("id") if isinstance(entry, dict) else None
    clip = str(clip) if isinstance(clip, (str, int)) and not isinstance(clip, bool) else ""
    if not clip.isalnum():
        raise AnnotationError(path, f'expected {{"id", "template", ...}}, found {str(entry)[:60]}', number)
    label = entry.get("template", entry.get("label"))
    if label is None and split != "test":
        raise AnnotationError(path, f"clip {clip} has no template, the name of its class", number)
    if not isinstance(label, str | None):
        raise AnnotationError(path, f"clip {clip} has the template {str(label)[:60]}; expected a text", number)
    refuse_half_characters(label or "", path, number)
    return clip, None if label is None else re.sub(r"[\[\]]", "", label)


def _holds_folders(root: str) -> bool:
    """Return true if the clips are folders of images, as for TSM."""
    try:
        with os.scandir(root) as entries:
            return any(entry.is_dir() and entry.name.isdecimal() for entry, _ in zip(entries, range(20)))
    except OSError:
        return False


SOMETHING_V1 = Format(
    "something_v1",
    "Something-Something V1 (JPEG folders, csv)",
    lambda data: any("jester" not in path.name.lower() for path in _csv_lists(data)),
    _csv_reader("something_v1", "20bn-something-something-v1", "frames", "rawframes"),
)
JESTER = Format(
    "jester",
    "Jester (JPEG folders, csv)",
    lambda data: any("jester" in path.name.lower() for path in _csv_lists(data)),
    _csv_reader("jester", "20bn-jester-v1", "frames", "rawframes"),
)
SOMETHING_V2 = Format(
    "something_v2", "Something-Something V2 (webm, JSON)", lambda data: bool(_json_lists(data)), _read_json
)
