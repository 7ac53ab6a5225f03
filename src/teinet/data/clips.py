"""Lists of labelled clips: read from class folders or a csv with named columns, one table for all that follows."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from teinet.data.decode import is_video
from teinet.errors import AnnotationError, ConfigError, nearest

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One clip as a list names it: `start` and `end` in seconds, `columns` everything that its line holds."""

    path: str
    label: str | None
    line: int | None = None
    start: float | None = None
    end: float | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipList:
    """Clips with integer labels (-1: unknown) under one list of class names."""

    paths: list[str]
    labels: np.ndarray  # (N,) int64
    class_names: list[str]
    starts: np.ndarray  # (N,) float64 seconds, nan where the clip is the whole file
    ends: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.paths)

    def span(self, index: int) -> tuple[float | None, float | None]:
        """Start and end of clip `index` in seconds; None where it has none."""
        start, end = self.starts[index], self.ends[index]
        return (None if np.isnan(start) else float(start), None if np.isnan(end) else float(end))

    def fingerprint(self) -> dict[str, object]:
        """Number of clips and classes, and a hash of the list, by which runs show that they used the same data."""
        digest = hashlib.sha256()
        root = _common_folder(self.paths)
        for path, label, start, end in zip(self.paths, self.labels, self.starts, self.ends):
            name = self.class_names[label] if label >= 0 else ""
            inside = Path(path).relative_to(root) if root else Path(path)
            digest.update(f"{inside.as_posix()}\t{name}\t{start}\t{end}\n".encode())
        return {"clips": len(self), "classes": len(self.class_names), "sha256": digest.hexdigest()}


def _common_folder(paths: Sequence[str]) -> Path | None:
    if not paths:
        return None
    folders = {os.path.dirname(p) for p in paths}
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # absolute and relative paths mixed, or two drives
        return None


def read_rows(path: str | Path, *, root: str | Path | None = None) -> list[Row]:
    """Read a folder of class folders (optionally inside train/, val/, test/) or a csv with columns `path` and `label`.

    Paths in a csv are relative to `root`, by default the folder that holds the csv.

    Raises:
        AnnotationError: nothing there, no videos, an empty class folder, missing columns, a line that does not parse.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise AnnotationError(
            path, "no such file or folder; give a folder of class folders or a csv with path and label"
        )
    return _read_csv(path, Path(root) if root else path.parent)


def _read_folder(root: Path) -> list[Row]:
    folders = [d for d in sorted(root.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    splits = {d: SPLIT_FOLDERS[d.name.lower()] for d in folders if d.name.lower() in SPLIT_FOLDERS}
    if "train" not in splits.values() or any(is_video(p) for d in splits for p in d.iterdir()):
        splits = {}  # a class may well be called "test", or "train": then it holds videos, not class folders
    rows: list[Row] = []
    for folder, split in (splits or {root: ""}).items():
        classes = [d for d in sorted(folder.iterdir()) if d.is_dir() and not d.name.startswith(".")]
        for directory in classes:
            videos = sorted(p for p in directory.iterdir() if not p.name.startswith(".") and is_video(p))
            if not videos:
                raise AnnotationError(directory, "this class folder holds no videos; put some in or remove the folder")
            columns = {"split": split} if split else {}
            rows += [Row(str(p), directory.name, columns=columns) for p in videos]
    if not rows:
        flat = any(is_video(p) for p in root.iterdir())
        found = "its videos lie in no class folder" if flat else "no videos found"
        raise AnnotationError(
            root, f"{found}; expected one folder per class with videos in it, or a csv with path and label"
        )
    return rows


def _read_csv(path: Path, root: Path) -> list[Row]:
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            if "path" not in names:
                found = ", ".join(names[:8])[:120] or "nothing"
                hint = "; fields are separated by commas" if ";" in found or "\t" in found else ""
                raise AnnotationError(
                    path, f"the first line must name the columns, `path` among them{hint}; found: {found}", 1
                )
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise AnnotationError(path, f"the first line names {', '.join(twice)} twice", 1)
            for record in reader:
                rows.append(_row(record, path, reader.line_num, root))
    except UnicodeDecodeError as error:
        raise AnnotationError(path, "this is not a text file in UTF-8; expected a csv") from error
    except csv.Error as error:
        raise AnnotationError(path, f"not a csv: {error}") from error
    if not rows:
        raise AnnotationError(path, "the list holds no clips")
    sample = rows[:: max(1, len(rows) // 20)]
    if not any(Path(r.path).exists() for r in sample):
        raise AnnotationError(
            path, f"none of its files exist, for example {sample[0].path}; say which folder its paths start from (root)"
        )
    return rows


def _row(record: dict[str | None, str | None], path: Path, line: int, root: Path) -> Row:
    if None in record or None in record.values():
        advice = "a name that holds a comma stands in double quotes"
        raise AnnotationError(path, f"this line has another number of fields than the first one; {advice}", line)
    columns = {name: value.strip() for name, value in record.items()}
    if not columns["path"]:
        raise AnnotationError(path, "this line names no path", line)
    try:
        start, end = (float(columns[k]) if columns.get(k) else None for k in ("start", "end"))
    except ValueError:
        raise AnnotationError(path, "start and end must be numbers (seconds)", line) from None
    if not all(v is None or (math.isfinite(v) and v >= 0) for v in (start, end)) or (end or math.inf) <= (start or 0):
        found = f"start {columns.get('start') or 'none'} and end {columns.get('end') or 'none'}"
        raise AnnotationError(path, f"{found}: no span of time (seconds, 0 <= start < end)", line)
    return Row(str(root / columns["path"]), columns.get("label") or None, line, start, end, columns)


def select(rows: Sequence[Row], selection: str, *, source: object) -> list[Row]:
    """The rows that `column=value,value,...` chooses; of several such conditions, joined by `;`, all must hold.

    Raises:
        ConfigError: a condition that does not parse, names no column, or leaves nothing.
    """
    chosen = list(rows)
    for condition in selection.split(";"):
        column, sep, text = condition.partition("=")
        column, values = column.strip(), {v.strip() for v in text.split(",")}
        if not sep or not text:
            raise ConfigError(f"{condition!r} is not a selection; write column=value,value as in subject=1,3,5")
        columns = rows[0].columns if rows else {}
        if column not in columns:
            known = sorted(columns)
            raise ConfigError(
                f"{source} has no column {column!r}.{nearest(column, known)} It has: {', '.join(known) or 'none'}."
            )
        present = {r.columns[column] for r in rows}
        if missing := sorted(values - present):
            raise ConfigError(
                f"{source}: column {column!r} never holds {', '.join(map(repr, missing))}; it holds "
                + ", ".join(sorted(present)[:12])
                + (", ..." if len(present) > 12 else "")
            )
        chosen = [r for r in chosen if r.columns[column] in values]
    if not chosen:
        raise ConfigError(f"{source}: no clip satisfies {selection}")
    return chosen


def to_clips(rows: Sequence[Row], class_names: Sequence[str] | None = None, *, source: object) -> ClipList:
    """Give every row its class index; `class_names` default to the sorted labels found.

    Raises:
        AnnotationError: a label that is not among `class_names`, with its line.
        ConfigError: `class_names` name a class twice.
    """
    names = list(class_names) if class_names is not None else sorted({r.label for r in rows if r.label is not None})
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        raise ConfigError(f"classes are named twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    for row in rows:
        if row.label is not None and row.label not in index:
            hint = nearest(row.label, names)
            raise AnnotationError(source, f"label {row.label!r} is none of the {len(names)} classes.{hint}", row.line)
    spans = np.array([[np.nan if v is None else v for v in (r.start, r.end)] for r in rows], dtype=np.float64).reshape(
        -1, 2
    )
    return ClipList(
        paths=[r.path for r in rows],
        labels=np.array([-1 if r.label is None else index[r.label] for r in rows], dtype=np.int64),
        class_names=names,
        starts=spans[:, 0],
        ends=spans[:, 1],
        source=str(source),
    )
