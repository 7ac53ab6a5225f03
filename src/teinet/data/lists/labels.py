"""Class names from a file: one a line, numbered lines (UCF101's classInd), or JSON (Something-Something's labels)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from teinet.errors import AnnotationError

_NUMBERED = re.compile(r"([0-9]{1,9})\s+(\S.*)")
_JSON = re.compile(r"\s*(\[\s*[\"\]]|\{)")  # a plain name may begin with a bracket: [Something] falling


def read_class_names(path: str | Path) -> list[str]:
    """The class names in a file, in the order of their indices.

    Args:
        path: a text in UTF-8: one name a line; or `index name` in every line, from 0 or from 1, in any order; or a
            JSON list of names; or a JSON object from name to index, which may be a text ("0").

    Raises:
        AnnotationError: no such file, another encoding, no names, a name twice, or indices that do not count
            0..n-1 or 1..n; with the line where there is one.
    """
    text = _read(Path(path))
    is_json = Path(path).suffix.lower() == ".json" or _JSON.match(text)
    entries = _from_json(path, text) if is_json else _from_lines(path, text)
    if not entries:
        raise AnnotationError(path, "holds no class names; expected one a line, or JSON")
    _refuse_repeated(path, entries)
    if all(index is None for index, _, _ in entries):
        return [name for _, name, _ in entries]
    return _in_order(path, entries)


# index (None: the order is the file's), name, line (None: unknown)
_Entry = tuple[int | None, str, int | None]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        missing = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise AnnotationError(path, f"{missing}; expected a file of class names") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AnnotationError(path, "this is not a text in UTF-8; save it as one", line) from error


def _from_lines(path: str | Path, text: str) -> list[_Entry]:
    lines = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if "" in lines:
        raise AnnotationError(path, "this line is empty; one name a line, none missing", lines.index("") + 1)
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        return [(int(match[1]), match[2], line) for line, match in enumerate(numbered, start=1) if match]
    return [(None, name, line) for line, name in enumerate(lines, start=1)]


def _from_json(path: str | Path, text: str) -> list[_Entry]:
    try:
        content = json.loads(text, object_pairs_hook=list)  # a dict would swallow a repeated name
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise AnnotationError(path, f"looks like JSON and is none: {error}", line) from error
    if not isinstance(content, list):
        raise AnnotationError(path, f"holds {_short(content)}; expected a JSON list of names or an object of indices")
    if text.lstrip()[0] == "[":
        if wrong := [name for name in content if not (isinstance(name, str) and name.strip())]:
            raise AnnotationError(path, f"a JSON list of class names holds {_short(wrong[0])}, which is no name")
        return [(None, name.strip(), None) for name in content]
    entries: list[_Entry] = []
    for name, index in content:
        if not name.strip():
            raise AnnotationError(path, "an empty class name")
        entries.append((_as_index(path, name, index), name.strip(), None))
    return entries


def _as_index(path: str | Path, name: str, index: Any) -> int:
    is_number = isinstance(index, int) and not isinstance(index, bool)
    if is_number or (isinstance(index, str) and re.fullmatch("[0-9]{1,9}", index)):
        return int(index)
    raise AnnotationError(path, f"{name!r} has the index {_short(index)}; expected a JSON object from name to index")


def _refuse_repeated(path: str | Path, entries: list[_Entry]) -> None:
    seen: dict[str, int | None] = {}
    for _, name, line in entries:
        if name in seen:
            before = f" (first in line {seen[name]})" if seen[name] else ""
            raise AnnotationError(path, f"class {name!r} stands here a second time{before}", line)
        seen[name] = line


def _in_order(path: str | Path, entries: list[_Entry]) -> list[str]:
    start = 0 if any(index == 0 for index, _, _ in entries) else 1
    last = start + len(entries) - 1
    seen: set[int | None] = set()
    for index, name, line in entries:
        if index is None or index in seen or not start <= index <= last:
            what = "is given twice" if index in seen else f"is outside {start} to {last}"
            raise AnnotationError(
                path,
                f"index {index} of {name!r} {what}; {len(entries)} classes count from 0 to {len(entries) - 1} or from "
                f"1 to {len(entries)}, and names that begin with numbers of their own stand in a JSON list",
                line,
            )
        seen.add(index)
    return [name for _, name, _ in sorted(entries)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
