"""What a list of clips was understood to be, what may be wrong with it, and how a sample of its clips is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rich.console import Console

from teinet.data.lists.formats import FORMATS, Listing
from teinet.data.lists.labels import mirrored_labels
from teinet.data.lists.rows import SPLITS, Overlap, Row, absent, overlaps
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, VideoError
from teinet.utils.progress import file_progress
from teinet.utils.text import natural

_FEW = 20
_ROWS_SHOWN = 3
_SHORT = (8, 16)  # frames that networks look at


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
        mirror: pairs of classes that a horizontal flip exchanges, or, as a text, why clips cannot be flipped.
        rows: all of them.
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
    rows: Sequence[Row] = field(repr=False)

    def totals(self) -> list[int]:
        """Return the clips of each class in all splits together."""
        return [sum(counts) for counts in zip(*self.counts.values())]

    def empty_classes(self) -> list[str]:
        """Return the classes without any clip."""
        return [name for name, count in zip(self.class_names, self.totals()) if count == 0]

    def untrained_classes(self) -> list[str]:
        """Return the classes with clips, none of which trains, where the list divides."""
        train = self.counts.get("train", self.totals())
        return [n for n, total, count in zip(self.class_names, self.totals(), train) if total and not count]

    def examples(self) -> list[Row]:
        """Return a few rows: the first, one in the middle and the last."""
        last = len(self.rows) - 1
        return [self.rows[i] for i in sorted({round(i * last / (_ROWS_SHOWN - 1)) for i in range(_ROWS_SHOWN)})]

    def to_dict(self) -> dict[str, object]:
        """Return all of it as JSON values."""

        def first(positions: Sequence[int]) -> dict[str, object] | None:
            row = self.rows[positions[0]] if positions else None
            return row and {"path": row.path, "file": row.file, "line": row.line}

        classes = {n: {split: c[i] for split, c in self.counts.items()} for i, n in enumerate(self.class_names)}
        return vars(self) | {
            "missing": len(self.missing),
            "first_missing": first(self.missing),
            "classes": classes,
            "empty_classes": self.empty_classes(),
            "untrained_classes": self.untrained_classes(),
            "unlabelled": len(self.unlabelled),
            "first_unlabelled": first(self.unlabelled),
            "overlaps": [vars(overlap) for overlap in self.overlaps],
            "rows": [row._asdict() | {"columns": dict(row.columns)} for row in self.examples()],
        }


def facts(listing: Listing, *, found_out: bool) -> Facts:
    """Look at every row of a list, and at no video."""
    rows = listing.rows
    names = listing.class_names or sorted({row.label for row in rows if row.label is not None})
    counted = Counter(row.split for row in rows)
    splits = {split: counted[split] for split in (*SPLITS, "") if counted[split]}
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
        overlaps=overlaps({split: [row for row in rows if row.split == split] for split in splits if split}),
        columns=_columns(rows),
        mirror=mirror,
        rows=rows,
    )


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    values: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.columns.items():
            values.setdefault(name, Counter())[value] += 1
    found = {}
    for name, counter in values.items():
        few = len(counter) <= _FEW
        found[name] = sorted(counter, key=natural) if few else [value for value, _ in counter.most_common()]
    return found


class Measured(NamedTuple):
    """A clip: its frames and seconds, and the facts of its file. A folder of images has no seconds and no rate."""

    path: str
    num_frames: int
    duration: float | None
    frame_rate: float | None
    width: int
    height: int
    codec: str


@dataclass(frozen=True)
class Sample:
    """Clips drawn from a list, `asked` of those that are there; some could not be read."""

    asked: int
    measured: list[Measured]  # of each clip: its frames and seconds, and the facts of its file
    unreadable: list[tuple[Row, str]]

    def ranges(self) -> dict[str, tuple[float, float, float]]:
        """Return smallest, median and largest of each quantity that clips have."""
        quantities = {
            "frames": [m.num_frames for m in self.measured],
            "seconds": [m.duration for m in self.measured if m.duration is not None],
            "frames a second": [m.frame_rate for m in self.measured if m.frame_rate is not None],
            "short side": [min(m.width, m.height) for m in self.measured],
            "long side": [max(m.width, m.height) for m in self.measured],
        }
        return {
            name: (float(min(values)), float(np.median(values)), float(max(values)))
            for name, values in quantities.items()
            if values
        }

    def sizes(self) -> list[tuple[str, int]]:
        """Return each width x height with its number of clips, the commonest first."""
        return Counter(f"{m.width}x{m.height}" for m in self.measured).most_common()

    def codecs(self) -> list[tuple[str, int]]:
        """Return each codec with its number of clips, the commonest first."""
        return Counter(m.codec for m in self.measured).most_common()

    def shorter(self) -> dict[int, int]:
        """Return how many clips have fewer frames than networks look at."""
        return {limit: sum(m.num_frames < limit for m in self.measured) for limit in _SHORT}

    def to_dict(self) -> dict[str, object]:
        """Return all of it as JSON values."""
        return {
            "asked": self.asked,
            "measured": len(self.measured),
            "ranges": {name: dict(zip(("min", "median", "max"), values)) for name, values in self.ranges().items()},
            "sizes": dict(self.sizes()),
            "codecs": dict(self.codecs()),
            "shorter": self.shorter(),
            "unreadable": [{"path": row.path, "reason": reason} for row, reason in self.unreadable],
        }


def draw_sample(
    rows: Sequence[Row], missing: Sequence[int], count: int, *, seed: int = 0, console: Console | None = None
) -> Sample:
    """Draw `count` of the rows that are there, the same ones each time, and measure them."""
    gone = set(missing)
    there = [i for i in range(len(rows)) if i not in gone]
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(there, min(count, len(there)), replace=False).tolist()) if there else []
    sample = Sample(len(chosen), [], [])
    with file_progress(console or Console(quiet=True), "measuring", len(chosen)) as advance:
        for i in chosen:
            try:
                sample.measured.append(_measure(rows[i]))
            except VideoError as error:
                sample.unreadable.append((rows[i], error.reason))
            advance("")
    return sample


def _measure(row: Row) -> Measured:
    video = VideoReader(row.path)
    frames, duration = len(video.frames_shown(row.start, row.end)), video.duration
    if frames != len(video) and video.frame_rate:
        duration = frames / video.frame_rate
    return Measured(row.path, frames, duration, video.frame_rate, *video.size, video.codec)
