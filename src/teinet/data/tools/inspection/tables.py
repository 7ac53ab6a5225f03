"""What an inspection found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from teinet.data.lists.rows import Row
from teinet.data.tools.inspection.facts import Facts
from teinet.data.tools.inspection.sample import Sample

_CLASSES_SHOWN = 40
_ENDS_SHOWN = 10
_NAMES_SHOWN = 8
_UNDIVIDED = "undivided"


def tables(facts: Facts, sample: Sample) -> Iterator[tuple[str, Table]]:
    """All that was found, each with its title."""
    yield "what was understood", _two_columns(understood(facts))
    if warnings := worth_knowing(facts, sample):
        yield "worth knowing", _two_columns(warnings, style="yellow")
    if facts.class_names:
        chosen, which = chosen_classes(facts)
        yield f"classes{which}", _class_table(facts, chosen, _ENDS_SHOWN if which else None)
    yield "a few rows", _two_columns([(str(i + 1), describe(facts.rows[i])) for i in facts.examples])
    if sample.measured:
        yield f"a sample of {len(sample.measured)} clips", _range_table(sample)
        yield "", _two_columns(measured(sample))


def understood(facts: Facts) -> list[tuple[str, str]]:
    """Facts in words, each under a short name."""
    how = "found out" if facts.found_out else "as said"
    parts = f", {facts.spans:,} of them parts of files" if facts.spans else ""
    order = "in the makers' order" if facts.ordered else "in alphabetical order"
    rows = [
        ("list", facts.source),
        ("format", f"{facts.format}: {facts.title} ({how})"),
        ("clips", f"{facts.clips:,} in {facts.files:,} files{parts}"),
        ("splits", _splits(facts)),
        ("classes", f"{len(facts.class_names)}, {order}" if facts.class_names else "none: no clip has a label"),
    ]
    rows += [("note", note) for note in facts.notes]
    for name, values in facts.columns.items():
        rows.append((f"column {name}", f"{len(values)} values: {listed(values)}"))
    if isinstance(facts.mirror, str):
        rows.append(("mirror", f"refused: {facts.mirror}"))
    elif facts.mirror:
        pairs = [f"{a} - {b}" for a, b in facts.mirror]
        rows.append(("mirror", f"complete; exchanges {listed(pairs)}"))
    else:
        rows.append(("mirror", "no class names a direction; mirrored clips keep their class"))
    return rows


def worth_knowing(facts: Facts, sample: Sample) -> list[tuple[str, str]]:
    """What may be wrong, each under a short name; nothing where all is well."""
    found = []
    if facts.missing:
        first = facts.rows[facts.missing[0]]
        found.append(("not there", f"{len(facts.missing)} of {facts.clips} clips; the first: {where(first)}"))
    if sample.unreadable:
        row, reason = sample.unreadable[0]
        count = f"{len(sample.unreadable)} of {sample.asked} clips tried"
        found.append(("unreadable", f"{count}; the first: {row.path}: {reason}"))
    if facts.unlabelled:
        first = facts.rows[facts.unlabelled[0]]
        tested = all(facts.rows[i].split == "test" for i in facts.unlabelled)
        which = " (all in test)" if tested else ""
        found.append(("without a label", f"{len(facts.unlabelled)} clips{which}; the first: {where(first)}"))
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


def measured(sample: Sample) -> list[tuple[str, str]]:
    """Sizes and codecs with their numbers."""

    def counted(values: Sequence[tuple[str, int]]) -> str:
        return listed([f"{name} ({count})" for name, count in values])

    return [("sizes", counted(sample.sizes())), ("codecs", counted(sample.codecs()))]


def describe(row: Row) -> str:
    """A row as one line."""
    span = "" if row.start is None and row.end is None else f"  {_second(row.start)} to {_second(row.end)} s"
    fields = {"label": row.label, "split": row.split, "name": row.name, **row.columns}
    return f"{row.path}{span}  " + "  ".join(f"{key}={value}" for key, value in fields.items() if value)


def where(row: Row) -> str:
    """A clip, and where the list names it."""
    return f"{row.path} ({row.file}, line {row.line})" if row.line else row.path


def listed(values: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    """The first few of several names."""
    return ", ".join(values[:most]) + (f", ... {len(values) - most} more" if len(values) > most else "")


def chosen_classes(facts: Facts) -> tuple[list[int], str]:
    """The classes to show, from most clips to fewest, and what to say of those that are not."""
    totals = facts.totals()
    order = sorted(range(len(totals)), key=lambda i: (-totals[i], i))
    if len(order) <= _CLASSES_SHOWN:
        return order, ""
    chosen = order[:_ENDS_SHOWN] + order[-_ENDS_SHOWN:]
    return chosen, f", the {_ENDS_SHOWN} with most and fewest clips of {len(order)} (all: --json)"


def _splits(facts: Facts) -> str:
    if list(facts.splits) == [""]:
        return "none: training holds out a fifth of each class, or divides as data.folds, train, val and test say"
    return ", ".join(f"{count} {split or _UNDIVIDED}" for split, count in facts.splits.items())


def _class_table(facts: Facts, chosen: Sequence[int], parted_after: int | None) -> Table:
    table = Table(pad_edge=False, box=SIMPLE_HEAD, show_edge=False)
    table.add_column("number", justify="right", style="dim")
    table.add_column("class", overflow="fold")
    several = len(facts.splits) > 1
    for split in facts.splits if several else ():
        table.add_column(split or _UNDIVIDED, justify="right")
    table.add_column("clips", justify="right")
    totals = facts.totals()
    for place, i in enumerate(chosen):
        parts = [str(counts[i]) for counts in facts.counts.values()] if several else []
        # Text: names such as "Pushing [something]" would be read as markup
        row = (str(i), Text(facts.class_names[i]), *parts, str(totals[i]))
        table.add_row(*row, end_section=place + 1 == parted_after)
    return table


def _range_table(sample: Sample) -> Table:
    table = Table(pad_edge=False, box=SIMPLE_HEAD, show_edge=False)
    for name in ("", "smallest", "median", "largest"):
        table.add_column(name, justify="right" if name else "left")
    for name, values in sample.ranges().items():
        table.add_row(name, *(number(value) for value in values))
    return table


def _two_columns(rows: Sequence[tuple[str, str]], style: str = "dim") -> Table:
    table = Table(show_header=False, pad_edge=False, box=None)
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text.encode("utf-8", "replace").decode()))
    return table


def number(value: float) -> str:
    """Without decimals that say nothing: 58, 2.9, 29.97."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _second(value: float | None) -> str:
    return "" if value is None else number(value)
