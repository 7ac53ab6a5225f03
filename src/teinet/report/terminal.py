"""The comparison on a terminal: one table of all tests with the published rows, then differences and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from rich.text import Text

from teinet.report.compare import Comparison, Group, Spread, names_by_value
from teinet.report.results import PublishedRow
from teinet.training.recipe import Recipe
from teinet.training.settings import meanings
from teinet.utils.text import printable, share

_NAME = 30  # columns for the name of a test or of a published row
_SETTINGS = 12  # settings whose values are shown; runs with little in common differ in dozens
_FIGURES = (6, 7, 7, 6, 7, 6, 11)


def signed(points: float | None) -> str:
    """Return a difference with its sign: `+0.3`, `-1.2`, `0.0`; empty for None."""
    if points is None:
        return ""
    return "0.0" if round(points, 1) == 0 else f"{points:+.1f}"


def spread(value: Spread | None) -> str:
    """Return mean and standard deviation in percent: `47.3 ± 0.4`."""
    return "-" if value is None else f"{100 * value.mean:.1f} ± {100 * value.deviation:.1f}"


def setting(value: Any, name: str = "") -> str:
    """Return a recipe's value as in the recipe reference; None of a setting `name` with what it stands for."""
    if value is None:
        default = re.search(r"\(default (\w+)\)", meanings(Recipe).get(name, ""))
        return f"default ({default[1]})" if default else "none"
    return str(value).lower() if isinstance(value, bool) else printable(value) or "''"


def varied(group: Group) -> str:
    """Return the settings that a group's runs differ in: `run.seed 0, 1, 2`."""
    return (
        "; ".join(f"{name} {', '.join(setting(value, name) for value in each)}" for name, each in group.varied.items())
        or "no setting"
    )


def lines(comparison: Comparison) -> Iterator[Text]:
    """Yield the lines of a report: each test with its published rows and differences, means, then notes."""
    yield _row("", "views", "clips", "top-1", "", "top-5", "", "mean class", style="dim")
    for run in comparison.runs:
        yield Text(run.name, style="bold").append(f"  {run.title}", style="not bold")
        for o in run.tests:
            name = ", ".join(filter(None, (o.title, o.split, f"{o.gmacs:.3g} GMACs" if o.gmacs else "")))
            name += "" if o.map is None else f", mAP {share(o.map)}"
            figures = (share(o.top1), "", share(o.top5), "", share(o.mean_class_accuracy))
            yield _row(f"  {name}", o.views, str(o.clips), *figures)
            yield from map(_published_row, o.published)
        for warning in run.warnings:
            text = f"{warning.text}: {warning.command}" if warning.command else warning.text
            yield Text(f"  ! {text}", style="yellow")
    for group in comparison.groups:
        yield Text(f"\n{group.name}", style="bold").append("  mean ± standard deviation (n - 1)", style="not bold dim")
        yield Text(f"  {', '.join(group.runs)} differ in {varied(group)}", style="dim")
        for mean in group.means:
            figures = [cell for each in (mean.top1, mean.top5) for cell in _mean(each)]
            classes = share(mean.mean_class_accuracy and mean.mean_class_accuracy.mean)
            yield _row(f"  {mean.name}, n = {len(mean.runs)}", mean.views, "", *figures, classes)
            yield from map(_published_row, mean.published)
        yield from (Text(f"  ! {note}", style="yellow") for note in group.notes)
    if comparison.settings or comparison.notes or comparison.paper:
        yield Text()
    for name, values in islice(comparison.settings.items(), _SETTINGS):
        yield Text(f"{name} differs: {names_by_value({run: setting(value, name) for run, value in values.items()})}")
    if more := list(comparison.settings)[_SETTINGS:]:
        yield Text(f"{len(more)} more settings differ (values: --json): {', '.join(more)}")
    if c := comparison.classes:
        text = f"{c.better} of {c.classes} classes improved, {c.worse} worsened"
        yield Text(f"class by class ({c.test}, from {c.first} to {c.second}): " + "; ".join([text, *c.notes]))
    yield from map(Text, (*comparison.notes, *comparison.paper))


def _mean(value: Spread | None) -> tuple[str, str]:
    return (share(value.mean), f"±{share(value.deviation)}") if value else ("-", "")


def _published_row(row: PublishedRow) -> Text:
    figures = (share(row.top1, 1), signed(row.top1_difference), share(row.top5, 1), signed(row.top5_difference))
    return _row(f"    table {row.table} {row.row}", row.views, "", *figures, style="dim")


def _row(name: str, *figures: str, style: str = "") -> Text:
    """Return a name and its figures in 80 columns, the figures below the name if it is long."""
    cells = "".join(f"{figure:>{width}}" for figure, width in zip(figures, _FIGURES)).rstrip()
    start = f"{name:<{_NAME}}" if len(name) <= _NAME else f"{name}\n{'':{_NAME}}"
    return Text(start + cells, style=style)
