"""What a list says: splits, classes, and what is missing, repeated or in two places at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from teinet.data.lists.formats import FORMATS, Listing
from teinet.data.lists.hflip import mirrored_labels
from teinet.data.lists.presence import absent
from teinet.data.lists.rows import SPLITS, Row
from teinet.errors import ConfigError

_FEW = 20
_ROWS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Clips, or files with other clips in them, that are in two splits."""

    one: str
    other: str
    clips: int
    files: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A list of clips as it was understood.

    Args:
        source: what was read.
        format, title: of which kind it is; `found_out` if nobody said so.
        notes: what was assumed.
        clips, files: how many; `spans` of the clips are parts of files.
        missing: positions of the rows that point nowhere.
        splits: clips by split; an empty name where the list does not divide.
        class_names: in their order, which the makers gave if `ordered`, and which is the alphabet's otherwise.
        counts: clips of each class, by split.
        unlabelled: positions of rows without a label.
        repeated: rows that name a clip of their split again.
        overlaps: between splits.
        columns: the values of each further column, to select or to group by: few in order, many the commonest first.
        mirror: pairs of classes that a mirror exchanges, or, as a text, why clips cannot be mirrored.
        examples: positions of a few rows.
    """

    source: str
    format: str
    title: str
    found_out: bool
    notes: list[str]
    clips: int
    files: int
    spans: int
    missing: list[int]
    splits: dict[str, int]
    class_names: list[str]
    ordered: bool
    counts: dict[str, list[int]]
    unlabelled: list[int]
    repeated: int
    overlaps: list[Overlap]
    columns: dict[str, list[str]]
    mirror: list[tuple[str, str]] | str
    examples: list[int]
    rows: Sequence[Row] = field(repr=False)

    def totals(self) -> list[int]:
        """Clips of each class in all splits together."""
        return [sum(counts) for counts in zip(*self.counts.values())] if self.counts else []

    def empty_classes(self) -> list[str]:
        """Classes without any clip."""
        return [name for name, count in zip(self.class_names, self.totals()) if count == 0]

    def untrained_classes(self) -> list[str]:
        """Classes with clips, none of which trains, where the list divides."""
        train = self.counts.get("train")
        if train is None:
            return []
        return [n for n, total, count in zip(self.class_names, self.totals(), train) if total and not count]

    def to_dict(self) -> dict[str, object]:
        """All of it, for JSON."""
        first = self.rows[self.missing[0]] if self.missing else None
        return {
            "source": self.source,
            "format": self.format,
            "found_out": self.found_out,
            "notes": self.notes,
            "clips": self.clips,
            "files": self.files,
            "spans": self.spans,
            "missing": len(self.missing),
            "first_missing": None if first is None else _place(first),
            "splits": self.splits,
            "class_names": self.class_names,
            "ordered": self.ordered,
            "classes": {
                name: {split: counts[i] for split, counts in self.counts.items()}
                for i, name in enumerate(self.class_names)
            },
            "empty_classes": self.empty_classes(),
            "untrained_classes": self.untrained_classes(),
            "unlabelled": len(self.unlabelled),
            "first_unlabelled": _place(self.rows[self.unlabelled[0]]) if self.unlabelled else None,
            "repeated": self.repeated,
            "overlaps": [vars(overlap) for overlap in self.overlaps],
            "columns": self.columns,
            "mirror": self.mirror,
            "rows": [self.rows[i]._asdict() | {"columns": dict(self.rows[i].columns)} for i in self.examples],
        }


def facts(listing: Listing, *, found_out: bool) -> Facts:
    """Look at every row of a list, and at no video."""
    rows = listing.rows
    names = listing.class_names or sorted({row.label for row in rows if row.label is not None})
    splits = {split: sum(row.split == split for row in rows) for split in (*SPLITS, "")}
    splits = {split: count for split, count in splits.items() if count}
    by_class = Counter((row.split, row.label) for row in rows)
    try:
        image = mirrored_labels(names)
        mirror: list[tuple[str, str]] | str = [(names[i], names[j]) for i, j in enumerate(image) if i < j]
    except ConfigError as error:
        mirror = str(error)
    return Facts(
        source=str(listing.source),
        format=listing.format,
        title=FORMATS[listing.format].title,
        found_out=found_out,
        notes=list(listing.notes),
        clips=len(rows),
        files=len({row.path for row in rows}),
        spans=sum(row.start is not None or row.end is not None for row in rows),
        missing=absent(rows),
        splits=splits,
        class_names=list(names),
        ordered=listing.class_names is not None,
        counts={split: [by_class[split, name] for name in names] for split in splits},
        unlabelled=[i for i, row in enumerate(rows) if row.label is None],
        repeated=len(rows) - len({(row.split, row.path, row.start, row.end) for row in rows}),
        overlaps=_overlaps(rows, [split for split in splits if split]),
        columns=_columns(rows),
        mirror=mirror,
        examples=sorted({round(i * (len(rows) - 1) / (_ROWS_SHOWN - 1)) for i in range(_ROWS_SHOWN)}),
        rows=rows,
    )


def _overlaps(rows: Sequence[Row], splits: Sequence[str]) -> list[Overlap]:
    clips = {split: {(r.path, r.start, r.end) for r in rows if r.split == split} for split in splits}
    files = {split: {path for path, _, _ in part} for split, part in clips.items()}
    found = []
    for one, other in combinations(splits, 2):
        if both := files[one] & files[other]:
            same = clips[one] & clips[other]
            example = min(path for path, _, _ in same) if same else min(both)
            found.append(Overlap(one=one, other=other, clips=len(same), files=len(both), example=example))
    return found


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    values: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.columns.items():
            values.setdefault(name, Counter())[value] += 1
    found = {}
    for name, counter in values.items():
        few = len(counter) <= _FEW
        found[name] = sorted(counter, key=_natural) if few else [value for value, _ in counter.most_common()]
    return found


def _natural(value: str) -> tuple[bool, int, str]:
    return not value.isdecimal(), int(value) if value.isdecimal() else 0, value


def _place(row: Row) -> dict[str, object]:
    return {"path": row.path, "file": row.file, "line": row.line}
