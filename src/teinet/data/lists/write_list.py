"""Conversion of any list to the library's own format: a csv with named columns, and a file of class names."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from teinet.data.lists.formats import Listing
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.rows import Row, absent
from teinet.errors import AnnotationError, ConfigError
from teinet.utils.files import replacing, write_text


@dataclass(frozen=True)
class Converted:
    """The written csv and file of class names (None: no clip has a label), and the number of missing clips."""

    list: Path
    labels: Path | None
    classes: int
    missing: int


def convert(listing: Listing, output: Path, *, absolute: bool = False, overwrite: bool = False) -> Converted:
    """Write `listing` to the csv `output`, and its classes in order to a file with the suffix `.labels.txt`.

    Args:
        output: a file name that ends in .csv, in an existing folder.
        absolute: write absolute paths, instead of paths relative to the csv's folder.
        overwrite: replace files that exist.

    Raises:
        ConfigError: `output` exists, is the list being read, or cannot represent these clips; nothing is written.
        OSError: a file cannot be written.
    """
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: must end in .csv, as training recognizes lists by it")
    labels = output.with_name(f"{output.stem}.labels.txt")
    read = {Path(row.file).resolve() for row in listing.rows if row.file} | {listing.source.resolve()}
    for path in (output, labels):
        if path.resolve() in read:
            raise ConfigError(f"{path}: is the list being read; choose another file")
        if path.is_dir() or (path.exists() and not overwrite):
            raise ConfigError(f"{path} exists; --overwrite replaces it")
    names = listing.class_names or sorted({label for row in listing.rows for label in row.labels})
    refuse_unwritable(listing.rows, output.parent)
    if names:
        write_labels(labels, names)
    elif overwrite:
        labels.unlink(missing_ok=True)  # of the list that is overwritten
    write_rows(output, listing.rows, absolute=absolute)
    return Converted(output, labels if names else None, len(names), len(absent(listing.rows)))


def write_rows(path: Path, rows: Sequence[Row], *, absolute: bool = False) -> None:
    """Write rows as `path,label,split,start,end,name` and their own columns; empty columns are left out.

    Args:
        path: the csv, written atomically, in an existing folder.
        absolute: see `convert`.

    Raises:
        ConfigError: a text cannot be represented in the csv; names it.
        OSError: the file cannot be written.
    """
    own = list(dict.fromkeys(name for row in rows for name in row.columns))
    relative = paths_from(path.parent)

    def written(clip: str) -> str:
        return os.path.abspath(clip) if absolute and "://" not in clip else relative(clip)

    records = [_record(row, written(row.path)) for row in rows]
    optional = [name for name in ("label", "split", "start", "end", "name") if any(r[name] for r in records)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["path", *optional, *own], restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue(), errors="strict")


def write_labels(path: Path, names: Sequence[str]) -> None:
    """Write class names for `read_class_names`: one per line, or as JSON if lines cannot represent them.

    Raises:
        ConfigError: a name is empty or occurs twice.
        OSError: the file cannot be written.
    """
    with replacing(path) as part:
        for text in ("".join(f"{name}\n" for name in names), json.dumps(list(names), indent=1, ensure_ascii=False)):
            part.write_text(text, encoding="utf-8", newline="")
            try:
                if read_class_names(part) == list(names):
                    return
            except AnnotationError as error:
                reason = error.reason
        raise ConfigError(f"the class names cannot be written to a file: {reason}")


def paths_from(folder: Path) -> Callable[[str], str]:
    """Return a function that makes paths relative to `folder`, or absolute if they share no folder."""
    here = os.path.abspath(folder)

    @cache
    def way(home: str) -> str:
        there = os.path.abspath(home)
        try:
            relative = os.path.relpath(there, here)
            if relative.split(os.sep)[0] != os.pardir:
                return relative
            # `..` after a symbolic link leads to the parent of its target.
            real, start = os.path.realpath(there), os.path.realpath(here)
            shared = os.path.commonpath([real, start])
            return there if shared == os.path.abspath(os.sep) else os.path.relpath(real, start)
        except ValueError:  # two drives
            return there

    def path_from(path: str) -> str:
        if "://" in path:
            return path
        home, name = os.path.split(path.rstrip(os.sep))
        if name in ("", os.curdir, os.pardir):
            home, name = os.path.split(os.path.abspath(path))
        start = way(home)
        return name if start == os.curdir else os.path.join(start, name).replace(os.sep, "/")

    return path_from


def refuse_unwritable(rows: Sequence[Row], folder: Path) -> None:
    """Raise the ConfigError of `write_rows` for a list in `folder`, before long work."""
    written = paths_from(folder)
    for row in rows:
        _record(row, written(row.path))


def _record(row: Row, path: str) -> dict[str, str]:
    """Return the values of a row by column, with `path` as it is to be written."""
    record = {
        "path": path,
        "label": "|".join(row.labels),
        "split": row.split,
        "start": "" if row.start is None else repr(float(row.start)),
        "end": "" if row.end is None else repr(float(row.end)),
        "name": row.name,
        **row.columns,
    }
    for column, text in record.items():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "replace").decode()
            raise ConfigError(f"{shown}: this {column} is not valid UTF-8, as lists must be; rename it") from None
        if text != text.strip():
            reason = "begins or ends with a space, which lists do not keep; rename it"
            raise ConfigError(f"{row.path}: {column} {text!r} {reason}")
    return record
