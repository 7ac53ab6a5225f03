"""Clips with labels: the rows of a list on disk, and the table that training and tests use."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teinet.data import remote
from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.shards import shard_part
from teinet.data.video import image_folder
from teinet.errors import AnnotationError, ConfigError, nearest
from teinet.utils.files import digest, other_spelling

NO_LABELS = "no clip has a label; add a column `label` to the csv"
_AS_LABEL = ("class", "category", "target", "action", "activity")  # other names of the column
SPLITS = ("train", "val", "test")
CLIP_HASH_BYTES = 6
MOST_COPIES = 20_000  # files; in longer lists, looking up each size takes too long on a network's disk
_FEW = 10  # class names that a message lists
_NO_COLUMNS: Mapping[str, str] = {}  # shared by all rows without other columns; never modified


class Row(NamedTuple):
    """One clip of a list.

    Args:
        path: a video file, a folder of images, or a pattern of image names in a folder (`img_%05d.jpg`).
        label: the name of its class; None if the list has none.
        split: train, val or test; empty if the list has none.
        start, end: seconds inside a longer file; None for the whole file.
        name: the data set's id of the clip, as used in submissions; empty if it has none.
        file, line: the list and the line that the clip is from.
        columns: the other columns of its line, by name.
        more: the names of further classes, in lists with several labels for a clip.
    """

    path: str
    label: str | None = None
    split: str = ""
    start: float | None = None
    end: float | None = None
    name: str = ""
    file: str = ""
    line: int | None = None
    columns: Mapping[str, str] = _NO_COLUMNS
    more: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all its classes."""
        return (() if self.label is None else (self.label,)) + self.more

    def fields(self) -> dict[str, str]:
        """Return the columns that rows can be selected by: split, label, name and those of the line."""
        own = {"split": self.split, "label": self.label, "name": self.name}
        return {key: value for key, value in own.items() if value} | dict(self.columns)


class PackedTexts(Sequence[str]):
    """An immutable sequence of strings in two arrays, which data workers share, where each would copy a list.

    File names are bytes on Linux and may not be UTF-8; Python's form of them is preserved.
    """

    def __init__(self, texts: Iterable[str]):
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self._bytes = np.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), np.uint8)
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._shared: Any = None  # the same as tensors, once they were sent

    def __getstate__(self) -> Any:
        import torch  # here, to read lists without it

        if self._shared is None:  # torch passes tensors, not arrays, to spawned workers in memory that they share
            self._shared = tuple(torch.from_numpy(array).share_memory_() for array in (self._bytes, self._ends))
            self.__setstate__(self._shared)
        return self._shared

    def __setstate__(self, state: Any) -> None:
        self._shared = state
        self._bytes, self._ends = (tensor.numpy() for tensor in state)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # resolves negative indices, raises IndexError
        first = int(self._ends[index - 1]) if index else 0
        return self._bytes[first : int(self._ends[index])].tobytes().decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class ClipList:
    """Clips with integer labels (-1: unknown) and class names; data workers share its `PackedTexts`.

    Of clips that may have several labels, or none, `labels` are the first (-1: none), and `label_sets` all.
    """

    paths: Sequence[str]
    labels: np.ndarray  # (N,) int64
    class_names: list[str]
    starts: np.ndarray  # (N,) float64 seconds, nan if the clip is the whole file
    ends: np.ndarray
    source: str
    names: Sequence[str] = ()  # the data set's id of each clip; empty if it has none
    groups: Sequence[str] = ()  # of each clip, what stays in one fold; empty if nothing was named
    max_damaged: float = MAX_DAMAGED  # share of a file's frames
    label_sets: np.ndarray | None = None  # (N, classes) bool; None if each clip has one label

    def __len__(self) -> int:
        return len(self.paths)

    def span(self, index: int) -> tuple[float | None, float | None]:
        """Return start and end of clip `index` in seconds, or None."""
        start, end = self.starts[index], self.ends[index]
        return (None if np.isnan(start) else float(start), None if np.isnan(end) else float(end))

    def fingerprint(self) -> dict[str, object]:
        """Return the numbers of clips and classes, and a hash of the list, which identify the data of a run."""
        digest = hashlib.sha256()
        paths = list(self.paths)
        try:
            root = os.path.commonpath({os.path.dirname(p) for p in paths})
            root = remote.address_of(root) or root
        except ValueError:  # no paths, absolute and relative ones, or two drives
            root = ""
        for path, name, start, end in zip(paths, self._label_texts(), self.starts.tolist(), self.ends.tolist()):
            inside = path[len(root) :].lstrip(os.sep).replace(os.sep, "/")
            digest.update(f"{inside}\t{name}\t{start}\t{end}\n".encode("utf-8", "surrogateescape"))
        return {"clips": len(self), "classes": len(self.class_names), "sha256": digest.hexdigest()}

    def _label_texts(self) -> Sequence[str]:
        """Return the name of each clip's class; of several, all with `|` between them."""
        names = np.array([*self.class_names, ""], dtype=object)
        if self.label_sets is None:
            return names[self.labels].tolist()  # -1 is the last: no name
        return ["|".join(names[:-1][own]) for own in self.label_sets]

    def clip_hashes(self) -> list[bytes]:
        """Return a hash of each clip's class, file name, size and span, which is the same for a copy elsewhere.

        The size of a folder is the number of its images, that of a missing file None.
        """
        found = []
        for path, name, start, end in zip(self.paths, self._label_texts(), self.starts.tolist(), self.ends.tolist()):
            if image_folder.is_folder(path):
                path = image_folder.split(path)[0]
            clip = f"{name}/{os.path.basename(path)}\t{_size(path)}\t{start}\t{end}"
            found.append(hashlib.sha256(clip.encode("utf-8", "surrogateescape")).digest()[:CLIP_HASH_BYTES])
        return found

    def packed_hashes(self) -> str:
        """Return the `clip_hashes` as one text, by which a test knows training clips again; empty for long lists."""
        hashes = set(self.clip_hashes()) if len(self) <= MOST_COPIES else ()
        return base64.b64encode(b"".join(sorted(hashes))).decode()


def _size(path: str) -> int | None:
    if part := shard_part(path):
        return part.length
    if address := remote.address_of(path):
        folder, _, name = address.rpartition("/")
        return (remote.sizes_in(folder) or {}).get(name)
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else os.path.getsize(path)
    except OSError:
        return None


def select(rows: Sequence[Row], selection: str, *, source: object) -> list[Row]:
    """Return the rows selected by `column=value,value,...`; several conditions, joined by `;`, must all hold.

    Raises:
        ConfigError: a condition cannot be parsed, has an unknown column or value, or no row is left.
    """
    fields = [row.fields() for row in rows]
    known = sorted({key for row in fields for key in row})
    chosen = list(zip(rows, fields))
    for condition in selection.split(";"):
        column, sep, text = condition.partition("=")
        column, values = column.strip(), {v.strip() for v in text.split(",")}
        if not sep or not text:
            raise ConfigError(f"selection {condition!r} cannot be parsed; write column=value,value as in subject=1,3,5")
        if column not in known:
            hint = nearest(column, known)
            raise ConfigError(f"{source}: no column {column!r}; choose from {', '.join(known)}.{hint}")
        present = {row[column] for row in fields if column in row}
        if missing := sorted(values - present):
            raise ConfigError(
                f"{source}: column {column!r} has no value {', '.join(map(repr, missing))}; choose from "
                + ", ".join(sorted(present)[:12])
                + (", ..." if len(present) > 12 else "")
            )
        chosen = [(row, values_of) for row, values_of in chosen if values_of.get(column) in values]
    if not chosen:
        raise ConfigError(f"{source}: no clip matches {selection}; give other values")
    return [row for row, _ in chosen]


def unknown_label(label: str, names: Sequence[str]) -> str:
    """Return the message on a label that is not a class."""
    listed = f" ({', '.join(names)})" if len(names) <= _FEW else ""
    return f"label {label!r} is not one of the {len(names)} classes{listed}.{nearest(label, names)}"


def to_clips(
    rows: Sequence[Row],
    class_names: Sequence[str] | None = None,
    *,
    source: object,
    max_damaged: float = MAX_DAMAGED,
    groups: Sequence[str] = (),
    multi_label: bool = False,
) -> ClipList:
    """Return the clips of rows with class indices; `class_names` default to the sorted labels.

    With `multi_label` they have `label_sets`.

    Raises:
        AnnotationError: a label is not in `class_names`; names file and line.
        ConfigError: `class_names` has a class twice.
    """
    names = list(class_names) if class_names is not None else sorted({label for r in rows for label in r.labels})
    index: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        twice = ", ".join(sorted({n for n in names if names.count(n) > 1}))
        raise ConfigError(f"class names occur twice: {twice}; remove the duplicates")
    index[None] = -1
    for row in rows:
        if (unknown := next((label for label in row.labels if label not in index), None)) is not None:
            raise AnnotationError(row.file or source, unknown_label(unknown, names), row.line)
    sets = None
    if multi_label:
        sets = np.zeros((len(rows), len(names)), dtype=bool)
        for own, row in zip(sets, rows):
            own[[index[label] for label in row.labels]] = True
    return ClipList(
        paths=PackedTexts(r.path for r in rows),
        labels=np.array([index[r.label] for r in rows], dtype=np.int64),
        class_names=names,
        starts=np.array([np.nan if r.start is None else r.start for r in rows], dtype=np.float64),
        ends=np.array([np.nan if r.end is None else r.end for r in rows], dtype=np.float64),
        source=str(source),
        names=PackedTexts(r.name for r in rows) if any(r.name for r in rows) else (),
        groups=PackedTexts(groups) if groups else (),
        max_damaged=max_damaged,
        label_sets=sets,
    )


def merged(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each clip (path, span and split) with the labels of all its rows, in the order of the list."""
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.path, *_span(row), row.split)
        before = found.get(key)
        labels = list(dict.fromkeys(row.labels if before is None else before.labels + row.labels))
        found[key] = (before or row)._replace(label=labels[0] if labels else None, more=tuple(labels[1:]))
    return list(found.values())


def no_labels(rows: Sequence[Row]) -> str:
    """Return the message on rows without labels, with the column that may be meant."""
    names = rows[0].columns if rows else ()
    meant = next((n for n in names if n.casefold() in _AS_LABEL or nearest(n, ["label"], cutoff=0.75)), None)
    return f"{NO_LABELS}; did you mean `label` by the column `{meant}`?" if meant else NO_LABELS


def absent(rows: Sequence[Row]) -> list[int]:
    """Return the positions of rows whose file or folder does not exist."""
    exists = presence()
    return [position for position, row in enumerate(rows) if not exists(row.path)]


def presence() -> Callable[[str], bool]:
    """Return a function that says if a file or folder exists; it lists each folder once, for speed."""

    @cache  # for this function only, as files change
    def names(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder or os.curdir))
        except OSError:
            return frozenset()

    def exists(path: str) -> bool:
        path = part.shard if (part := shard_part(path)) else path
        if address := remote.address_of(path):
            folder, _, name = address.rpartition("/")
            listed = remote.sizes_in(folder)
            return listed is None or name in listed  # a server that lists nothing says so when the clip is read
        if "%" in path and (split := image_folder.split(path))[1]:
            path = split[0]
        folder, _, name = path.rstrip(os.sep).rpartition(os.sep)
        folder = folder or os.sep if path[:1] == os.sep else folder
        return os.path.exists(path) if name in ("", ".", "..") else name in names(folder)

    return exists


def spelling_hint(rows: Sequence[Row], missing: Sequence[int]) -> str:
    """Return how a missing clip's name differs from those on disk, if one of the first does by its spelling only."""
    return next(filter(None, (other_spelling(rows[position].path) for position in missing[:_FEW])), "")


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A clip with two labels, or two parts of a file that overlap in time and have two labels.

    Args:
        one, other: the rows, in the order of the list.
        same: true if they name the same clip, false if their times overlap.
    """

    one: Row
    other: Row
    same: bool

    def __str__(self) -> str:
        """Return the conflict in words, with lines."""
        if self.same:
            labels = " and ".join(f"{row.label!r}{_line(row)}" for row in (self.one, self.other))
            return f"{self.one.path} is {labels}"
        spans = " and ".join(
            f"{row.start or 0:g} to {'the end' if row.end is None else f'{row.end:g} s'} {row.label!r}{_line(row)}"
            for row in (self.one, self.other)
        )
        return f"{self.one.path} is from {spans}"


def _line(row: Row) -> str:
    return "" if row.line is None else f" (line {row.line})"


def conflicts(rows: Sequence[Row]) -> list[Conflict]:
    """Return the first conflict of each clip or file that has one; rows without a label have none."""
    files: dict[str, list[Row]] = {}
    for row in rows:
        if row.label is not None:
            files.setdefault(row.path, []).append(row)
    return [found for own in files.values() if len(own) > 1 and (found := _conflict(own))]


def _conflict(rows: Sequence[Row]) -> Conflict | None:
    """Return the first conflict of a file's rows, of the same clip if there is one."""
    overlap = None
    ordered = sorted(rows, key=_span)
    for i, one in enumerate(ordered):
        for other in islice(ordered, i + 1, None):
            if _span(other)[0] > _span(one)[1] - 1e-6:  # numbers in files are rounded
                break
            if other.label != one.label:
                if _span(other) == _span(one):
                    return Conflict(one=one, other=other, same=True)
                overlap = overlap or Conflict(one=one, other=other, same=False)
    return overlap


def _span(row: Row) -> tuple[float, float]:
    return row.start or 0.0, np.inf if row.end is None else row.end


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Clips, or files with several clips, in two splits, which makes measured accuracies too high.

    Args:
        clips, files: the number of clips that are in both, and of their files.
        copies: whether the files have different paths and the same content; `clips` is 0 then.
        example: a path; of copies, both.
    """

    one: str
    other: str
    clips: int
    files: int
    example: str
    copies: bool = False


def overlaps(parts: Mapping[str, Sequence[Row]]) -> list[Overlap]:
    """Return the overlaps of each pair of splits that has some; copies only in lists of at most 20,000 files."""
    clips = {split: {(r.path, r.start, r.end) for r in part} for split, part in parts.items()}
    files = {split: {path for path, _, _ in part} for split, part in clips.items()}
    found = []
    for one, other in combinations(parts, 2):
        if both := files[one] & files[other]:
            same = clips[one] & clips[other]
            example = min(path for path, _, _ in same) if same else min(both)
            found.append(Overlap(one=one, other=other, clips=len(same), files=len(both), example=example))
    return found + _copies(files)


def _copies(files: Mapping[str, set[str]]) -> list[Overlap]:
    """Return the files of one split that are copies of another's, by size and then by hash."""
    if sum(map(len, files.values())) > MOST_COPIES:
        return []
    by_size: dict[int, list[tuple[str, str]]] = {}
    for split, paths in files.items():
        for path in sorted(paths):
            if os.path.isfile(path) and (size := os.path.getsize(path)):
                by_size.setdefault(size, []).append((split, path))
    by_content: dict[str, dict[str, str]] = {}
    for same in by_size.values():
        if len({split for split, _ in same}) > 1:
            for split, path in same:
                by_content.setdefault(digest(Path(path)), {}).setdefault(split, path)
    found = []
    for one, other in combinations(files, 2):
        pairs = [(c[one], c[other]) for c in by_content.values() if one in c and other in c and c[one] != c[other]]
        if pairs:
            example = " and ".join(pairs[0])
            found.append(Overlap(one=one, other=other, clips=0, files=len(pairs), example=example, copies=True))
    return found
