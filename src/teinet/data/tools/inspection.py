"""What a list of clips was understood to be, what may be wrong with it, and how a sample of its clips is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teinet.data.lists.formats import FORMATS, Listing
from teinet.data.lists.labels import mirrored_labels
from teinet.data.lists.rows import SPLITS, Overlap, Row, absent, overlaps
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, VideoError
from teinet.utils.progress import file_progress
from teinet.utils.text import natural, number, printable

_FEW = 20
_SHORT = (8, 16)  # frames that networks look at
_CLASSES_SHOWN, _ENDS_SHOWN, _NAMES_SHOWN = 40, 10, 8
_UNDIVIDED = "undivided"


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
        return [self.rows[i] for i in sorted({0, round(last / 2), last})]

    def to_dict(self) -> dict[str, object]:
        """Return all of it as JSON values."""

        def first(positions: Sequence[int]) -> dict[str, object] | None:
            row = self.rows[positions[0]] if positions else None
            return row and {"path": row.path, "file": row.file, "line": row.line}

        return vars(self) | {
            "missing": len(self.missing),
            "first_missing": first(self.missing),
            "classes": {n: {s: c[i] for s, c in self.counts.items()} for i, n in enumerate(self.class_names)},
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
    return {
        name: sorted(counter, key=natural) if len(counter) <= _FEW else [value for value, _ in counter.most_common()]
        for name, counter in values.items()
    }


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
        """Return each codec with its number of clips, likewise."""
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


def tables(facts: Facts, sample: Sample) -> Iterator[tuple[str, Table]]:
    """Yield all that was found, each table with its title."""
    yield "what was understood", _two_columns(_understood(facts))
    if warnings := worth_knowing(facts, sample):
        yield "worth knowing", _two_columns(warnings, style="yellow")
    if facts.class_names:
        chosen, which = chosen_classes(facts)
        yield f"classes{which}", _class_table(facts, chosen, _ENDS_SHOWN if which else None)
    yield "a few rows", _two_columns([(str(i), _describe(row)) for i, row in enumerate(facts.examples(), 1)])
    if sample.measured:
        yield f"a sample of {len(sample.measured)} clips", _range_table(sample)
        counted = (("sizes", sample.sizes()), ("codecs", sample.codecs()))
        yield "", _two_columns([(name, listed([f"{n} ({count})" for n, count in pairs])) for name, pairs in counted])


def _understood(facts: Facts) -> list[tuple[str, str]]:
    """Facts in words, each under a short name."""
    how = "found out" if facts.found_out else "as said"
    parts = f", {facts.spans:,} of them parts of files" if facts.spans else ""
    order = "in the makers' order" if facts.ordered else "in alphabetical order"
    if list(facts.splits) == [""]:
        splits = "none: training holds out a fifth of each class, or divides as data.folds, train, val and test say"
    else:
        splits = ", ".join(f"{count} {split or _UNDIVIDED}" for split, count in facts.splits.items())
    if isinstance(facts.mirror, str):
        mirror = f"refused: {facts.mirror}"
    elif facts.mirror:
        mirror = f"complete; exchanges {listed([f'{a} - {b}' for a, b in facts.mirror])}"
    else:
        mirror = "no class names a direction; mirrored clips keep their class"
    return [
        ("list", facts.source),
        ("format", f"{facts.format}: {facts.title} ({how})"),
        ("clips", f"{facts.clips:,} in {facts.files:,} files{parts}"),
        ("splits", splits),
        ("classes", f"{len(facts.class_names)}, {order}" if facts.class_names else "none: no clip has a label"),
        *(("note", note) for note in facts.notes),
        *((f"column {name}", f"{len(values)} values: {listed(values)}") for name, values in facts.columns.items()),
        ("mirror", mirror),
    ]


def worth_knowing(facts: Facts, sample: Sample) -> list[tuple[str, str]]:
    """Return what may be wrong, each under a short name; nothing where all is well."""
    found = []
    if facts.missing:
        first = facts.rows[facts.missing[0]]
        found.append(("not there", f"{len(facts.missing)} of {facts.clips} clips; the first: {_where(first)}"))
    if sample.unreadable:
        row, reason = sample.unreadable[0]
        count = f"{len(sample.unreadable)} of {sample.asked} clips tried"
        found.append(("unreadable", f"{count}; the first: {row.path}: {reason}"))
    if facts.unlabelled:
        first = facts.rows[facts.unlabelled[0]]
        tested = all(facts.rows[i].split == "test" for i in facts.unlabelled)
        which = " (all in test)" if tested else ""
        found.append(("without a label", f"{len(facts.unlabelled)} clips{which}; the first: {_where(first)}"))
    if empty := facts.empty_classes():
        found.append(("without clips", f"{len(empty)} of {len(facts.class_names)} classes: {listed(empty)}"))
    if untrained := facts.untrained_classes():
        found.append(("not trained", f"{len(untrained)} classes have clips, but none that train: {listed(untrained)}"))
    if "" in facts.splits and len(facts.splits) > 1:
        found.append(("half divided", f"{facts.splits['']} clips name no split and others do: training refuses that"))
    for overlap in facts.overlaps:
        both = f"in both {overlap.one} and {overlap.other}"
        what = f"{overlap.clips} clips are {both}" if overlap.clips else f"{overlap.files} files have clips {both}"
        found.append(("overlap", f"{what}, for example {overlap.example}: numbers on them flatter"))
    if facts.repeated:
        found.append(("repeated", f"{facts.repeated} rows name a clip again"))
    for limit, count in sample.shorter().items():
        if count:
            found.append((f"under {limit} frames", f"{count} of the {len(sample.measured)} clips measured"))
    return found


def listed(values: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    """Return the first few of several names as one text."""
    return ", ".join(values[:most]) + (f", ... {len(values) - most} more" if len(values) > most else "")


def chosen_classes(facts: Facts) -> tuple[list[int], str]:
    """Return the classes to show, from most clips to fewest, and what to say of those that are not."""
    totals = facts.totals()
    order = sorted(range(len(totals)), key=lambda i: (-totals[i], i))
    if len(order) <= _CLASSES_SHOWN:
        return order, ""
    chosen = order[:_ENDS_SHOWN] + order[-_ENDS_SHOWN:]
    return chosen, f", the {_ENDS_SHOWN} with most and fewest clips of {len(order)} (all: --json)"


def _describe(row: Row) -> str:
    start, end = ("" if second is None else number(second) for second in (row.start, row.end))
    span = f"  {start} to {end} s" if start or end else ""
    fields = {"label": row.label, "split": row.split, "name": row.name, **row.columns}
    return f"{row.path}{span}  " + "  ".join(f"{key}={value}" for key, value in fields.items() if value)


def _where(row: Row) -> str:
    return f"{row.path} ({row.file}, line {row.line})" if row.line else row.path


def _class_table(facts: Facts, chosen: Sequence[int], parted_after: int | None) -> Table:
    several = list(facts.splits) if len(facts.splits) > 1 else []
    table = Table(pad_edge=False, box=SIMPLE_HEAD, show_edge=False)
    table.add_column("number", justify="right", style="dim")
    table.add_column("class", overflow="fold")
    for name in (*(split or _UNDIVIDED for split in several), "clips"):
        table.add_column(name, justify="right")
    totals = facts.totals()
    for place, i in enumerate(chosen, 1):
        counts = [str(facts.counts[split][i]) for split in several]
        name = Text(facts.class_names[i])  # names such as "Pushing [something]" would be read as markup
        table.add_row(str(i), name, *counts, str(totals[i]), end_section=place == parted_after)
    return table


def _range_table(sample: Sample) -> Table:
    table = Table(pad_edge=False, box=SIMPLE_HEAD, show_edge=False)
    for name in ("", "smallest", "median", "largest"):
        table.add_column(name, justify="right" if name else "left")
    for name, values in sample.ranges().items():
        table.add_row(name, *map(number, values))
    return table


def _two_columns(rows: Sequence[tuple[str, str]], style: str = "dim") -> Table:
    table = Table(show_header=False, pad_edge=False, box=None)
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(printable(text)))
    return table
