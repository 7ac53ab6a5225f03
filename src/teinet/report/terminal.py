"""The comparison on a terminal: lines that fit 80 columns, where a table of all runs would not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from teinet.report import show
from teinet.report.beside import Beside, beside_test
from teinet.report.classes import ClassChanges
from teinet.report.compare import Comparison
from teinet.report.groups import Group, Spread
from teinet.report.run import Run
from teinet.utils.text import printable

WIDTH = 80
_NAME = 30  # columns for the name of a test or of a printed row
_FIGURES = (6, 7, 7, 6, 7, 6, 11)
_CLASSES = 5  # a page shows more


def lines(comparison: Comparison) -> Iterator[Text]:
    """What a terminal shows, line by line."""
    for line in _lines(comparison):
        line.plain = printable(line.plain)
        yield line


def _lines(comparison: Comparison) -> Iterator[Text]:
    yield from _row("", "views", "clips", "top-1", "", "top-5", "", "mean class", style="dim")
    for run in comparison.runs:
        yield from _run(run)
    for group in comparison.groups:
        yield from _group(group)
    if comparison.settings:
        yield Text("\nwhat differs", style="bold")
        widest = min(_NAME, max(map(len, comparison.settings)))
        for name, values in comparison.settings.items():
            yield from _wrapped(f"  {name:<{widest}}  ", _who(values))
    if comparison.classes:
        yield from _changes(comparison.classes)
    if said := [*comparison.notes, *comparison.paper]:
        yield Text("\nto know", style="bold")
        for note in said:
            yield from _wrapped("  - ", note)


def _run(run: Run) -> Iterator[Text]:
    yield Text(run.name, style="bold").append(f"  {show.network(run)}", style="not bold")
    for outcome in run.outcomes:
        figures = (show.share(outcome.top1), "", show.share(outcome.top5), "", show.share(outcome.mean_class_accuracy))
        details = [outcome.split] * bool(outcome.split) + [show.test_cost(outcome)] * bool(outcome.gflops)
        name = ", ".join([show.test(outcome), *details])
        yield from _row(f"  {name}", outcome.views, str(outcome.clips), *figures)
        for row in beside_test(outcome):
            yield from _printed(row)
    for warning in run.warnings:
        said = f"{warning.text}: {warning.command}" if warning.command else warning.text
        yield from _wrapped("  ! ", said, style="yellow")


def _group(group: Group) -> Iterator[Text]:
    yield Text(f"\n{group.name}", style="bold").append("  mean ± standard deviation (n - 1)", style="not bold dim")
    yield from _wrapped("  ", f"{', '.join(group.runs)}: {show.varied(group)}", style="dim")
    for mean in group.means:
        figures = [cell for spread in (mean.top1, mean.top5) for cell in _spread(spread)]
        classes = show.share(mean.mean_class_accuracy and mean.mean_class_accuracy.mean)
        yield from _row(f"  {mean.name}, n = {len(mean.runs)}", mean.views, "", *figures, classes)
        for row in mean.beside:
            yield from _printed(row)
    for note in group.notes:
        yield from _wrapped("  ! ", note, style="yellow")


def _spread(spread: Spread | None) -> tuple[str, str]:
    return (show.share(spread.mean), f"±{show.share(spread.deviation)}") if spread else (show.DASH, "")


def _printed(row: Beside) -> Iterator[Text]:
    p = row.printed
    figures = (show.number(p.top1), show.signed(row.top1), show.number(p.top5), show.signed(row.top5))
    name = f"    table {p.table} {p.row}"
    priced = f"{name}, {show.printed_cost(row)}"
    yield from _row(priced if p.gflops and len(priced) <= _NAME else name, p.views, "", *figures, "", style="dim")


def _changes(classes: ClassChanges) -> Iterator[Text]:
    yield Text(f"\nclass by class  {classes.test}, from {classes.first} to {classes.second}", style="bold")
    counts = f"of {classes.classes} classes {classes.better} are recognised better, {classes.worse} worse"
    yield from _wrapped("  ", "; ".join([counts, *classes.notes]), style="dim")
    for change in (*classes.best[:_CLASSES], *reversed(classes.worst[:_CLASSES])):
        name = textwrap.shorten(change.name, WIDTH - 28, placeholder="...")
        yield Text(
            f"  {show.signed(change.points):>6}  {show.share(change.first):>5} ->{show.share(change.second):>6}  {name}"
        )


def _who(values: dict[str, Any]) -> str:
    """`0.01: a, b; 0.02: c`."""
    runs: dict[str, list[str]] = {}
    for run, value in values.items():
        runs.setdefault(show.setting(value), []).append(run)
    return "; ".join(f"{value}: {', '.join(names)}" for value, names in runs.items())


def _row(name: str, *figures: str, style: str = "") -> Iterator[Text]:
    """A name and its figures; below it where the name is long."""
    cells = "".join(f"{figure:>{width}}" for figure, width in zip(figures, _FIGURES)).rstrip()
    if len(name) > _NAME:
        yield Text(name, style=style)
        name = ""
    yield Text(f"{name:<{_NAME}}{cells}", style=style)


def _wrapped(start: str, text: str, style: str = "") -> Iterator[Text]:
    """Lines of at most 80 columns, words whole; what cannot be broken, such as a path, may be longer."""
    options = {"subsequent_indent": " " * len(start), "break_long_words": False, "break_on_hyphens": False}
    for line in textwrap.wrap(text, WIDTH, initial_indent=start, **options):
        yield Text(line, style=style)
