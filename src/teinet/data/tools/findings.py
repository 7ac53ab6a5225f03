"""What a check found out about each file: a csv that grows file by file, from which an interrupted check goes on."""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from teinet.data.lists.rows import Row
from teinet.data.video import image_folder
from teinet.errors import ConfigError
from teinet.utils.files import replacing

Status = Literal["ok", "broken", "missing", "stuck"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One file.

    Args:
        path: as the list gives it.
        frames, width, height, seconds, codec: empty where it cannot be read; a folder of pictures has no seconds.
        status: stuck where it gave no frame for too long.
        reason: why it is not ok, in one line.
        list, line: where the list names it, for the first time or with the span that is wrong.
        bytes, modified: size and time of last change (ns) when it was looked at; of pictures the sum and the latest.
        spans: a checksum of the clips' seconds in it, as the list gave them.
    """

    path: str
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    codec: str = ""
    status: Status = "ok"
    reason: str = ""
    list: str = ""
    line: int | None = None
    bytes: int | None = None
    modified: int | None = None
    spans: str = ""


COLUMNS = tuple(field.name for field in fields(Finding))
_NUMBERS = {"frames": int, "width": int, "height": int, "seconds": float, "line": int, "bytes": int, "modified": int}


class FindingsFile:
    """The csv on disk. Each row is written at once and whole, so that whatever ends the command loses nothing."""

    def __init__(self, path: Path, found: Iterable[Finding]):
        """Write what is known so far; `add` appends to it."""
        write_findings(path, found)
        self._file = path.open("a", encoding="utf-8", errors="surrogateescape", newline="", buffering=1)
        self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, finding: Finding) -> None:
        self._writer.writerow(_values(finding))

    def close(self) -> None:
        self._file.close()


def write_findings(path: Path, found: Iterable[Finding]) -> None:
    """Write the csv anew, whole or not at all."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(_values, found))


def read_findings(path: Path) -> dict[str, Finding]:
    """What an earlier check found, by path; nothing where there is no file. A line that was cut off is left out.

    Raises:
        ConfigError: a file of another kind, which is not to be written over.
    """
    if not path.exists():
        return {}
    refusal = f"{path}: is there already and is not from `teinet data check`; name another file with --output"
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ConfigError(refusal)
        found = (_finding(values) for values in lines[1:] if len(values) == len(COLUMNS))
        return {finding.path: finding for finding in found}
    except (csv.Error, ValueError):
        raise ConfigError(refusal) from None


def stamp(path: str) -> tuple[int, int]:
    """Size and time of last change in ns, of a video or of all its pictures; OSError where it is gone."""
    if not image_folder.is_folder(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    folder = path if os.path.isdir(path) else image_folder.split(path)[0]
    latest, size = os.stat(folder).st_mtime_ns, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat()
            size, latest = size + status.st_size, max(latest, status.st_mtime_ns)
    return size, latest


def checksum(rows: Sequence[Row]) -> str:
    """A text that changes when the seconds of the clips in a file do; empty where they are whole files."""
    spans = sorted({(row.start or 0.0, row.end or 0.0) for row in rows if (row.start, row.end) != (None, None)})
    return f"{zlib.crc32(repr(spans).encode()):08x}" if spans else ""


def _values(finding: Finding) -> list[Any]:
    return ["" if value is None else value for value in vars(finding).values()]


def _finding(values: Sequence[str]) -> Finding:
    facts: dict[str, Any] = dict(zip(COLUMNS, values))
    for name, kind in _NUMBERS.items():
        facts[name] = kind(facts[name]) if facts[name] else None
    return Finding(**facts)
