"""What an inspection found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from teinet.data.lists.rows import Row
from teinet.data.tools.inspection import Facts, Sample
from teinet.utils.text import number

_CLASSES_SHOWN = 40
_ENDS_SHOWN = 10
_NAMES_SHOWN = 8
_UNDIVIDED = "undivided"


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
        counted = {"sizes": sample.sizes(), "codecs": sample.codecs()}
        yield (
            "",
            _two_columns([(name, listed([f"{n} ({count})" for n, count in pairs])) for name, pairs in counted.items()]),
        )


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
        # Text: names such as "Pushing [something]" would be read as markup
        name = Text(facts.class_names[i])
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
        table.add_row(name, Text(text.encode("utf-8", "replace").decode()))
    return table
