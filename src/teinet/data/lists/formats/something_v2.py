"""Something-Something V2: webm files and JSON lists; the class is the template without its square brackets."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import Format, Listing, Options, Place
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row
from teinet.errors import AnnotationError

_VIDEOS = ("20bn-something-something-v2", "videos", "webm", "frames", "rawframes")


def _lists(place: Place) -> dict[Path, str]:
    found = {}
    for name, path in place.files.items():
        if name.endswith(".json") and (base.split_of(name) or not place.is_folder):
            with path.open("rb") as file:
                if re.match(rb'\s*\[\s*\{\s*"(id|label|template|placeholders)"', file.read(4096)):
                    found[path] = base.split_of(name)
    return found


def _read(place: Place, options: Options) -> Listing:
    root, pattern = str(place.find_videos(*_VIDEOS)), base.picture_pattern(options.picture_names)
    frames = pattern or _holds_folders(root)
    rows: list[Row] = []
    for path, split in base.one_a_split(_lists(place)).items():
        for number, entry in enumerate(_entries(path), 1):
            clip, label = _clip(entry, split, path, number)
            file = (
                os.path.join(root, clip, pattern or "").rstrip(os.sep) if frames else os.path.join(root, f"{clip}.webm")
            )
            rows.append(Row(file, label, split, name=clip, file=str(path), line=number))
    if not rows:
        raise AnnotationError(place.path, "no list of Something-Something V2 here (train.json, validation.json)")
    names = options.class_names
    if names is None and (files := [p for n, p in place.files.items() if n.endswith("labels.json")]):
        names = read_class_names(files[0])
    notes = ["lines of its lists are entries of their JSON arrays, counted from 1"]
    return Listing(
        format="something_v2", source=place.path, rows=rows, class_names=names, notes=notes, submission="numbers"
    )


def _entries(path: Path) -> list[Any]:
    try:
        entries = json.loads(base.read_text(path))
    except ValueError as error:
        raise AnnotationError(path, f"not a JSON list ({error})", getattr(error, "lineno", None)) from None
    if not isinstance(entries, list):
        raise AnnotationError(path, "expected a JSON list of clips")
    return entries


def _clip(entry: Any, split: str, path: Path, number: int) -> tuple[str, str | None]:
    clip = str(entry["id"]) if isinstance(entry, dict) and "id" in entry else ""
    if not clip.isalnum():
        raise AnnotationError(path, f'expected {{"id", "template", ...}}, found {str(entry)[:60]}', number)
    label = entry.get("template", entry.get("label"))
    if label is None and split != "test":
        raise AnnotationError(path, f"clip {clip} has no template, which tells its class", number)
    return clip, None if label is None else re.sub(r"[\[\]]", "", label)


def _holds_folders(root: str) -> bool:
    """Whether the clips were unpacked into folders of pictures, as TSM does."""
    try:
        with os.scandir(root) as entries:
            return any(entry.is_dir() and entry.name.isdecimal() for entry, _ in zip(entries, range(20)))
    except OSError:
        return False


SOMETHING_V2 = Format("something_v2", "Something-Something V2 (webm, JSON)", lambda place: bool(_lists(place)), _read)
