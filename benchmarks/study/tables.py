"""A study's table: each network's top-1 with its spread, its lead over the reference, backwards, reversals, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.study.results import Done
from benchmarks.study.statistics import Difference

EMPTY = "–"  # of what no cell has measured yet


@dataclass(frozen=True)
class Row:
    """A network's line: the values, nan or None where nothing was measured yet."""

    network: str
    top1: float
    over_folds: float
    over_seeds: float
    difference: Difference | None
    backwards: float
    reversals: tuple[float, float, int] | None
    calibration: float | None
    calibration_floor: float | None
    cells: int
    of: int
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        plain = {name: None if _absent(value) else value for name, value in vars(self).items()}
        plain["difference"] = vars(self.difference) if self.difference else None
        return plain


def rows(done: Done) -> list[Row]:
    """A row for each network of the study, in its order; those without a finished cell are empty."""
    study = done.study
    found = []
    for network in study.networks:
        mean, results = done.mean(network), list(done.of(network).values())
        seconds = [result["seconds"] for result in results]
        found.append(
            Row(
                network=network,
                top1=mean.value,
                over_folds=mean.over_folds,
                over_seeds=mean.over_seeds,
                difference=done.difference(network, study.reference) if study.reference else None,
                backwards=done.mean(network, "backwards").value,
                reversals=done.reversals(network),
                calibration=done.calibration(network),
                calibration_floor=done.calibration_floor(network),
                cells=mean.cells,
                of=len(study.folds) * len(study.seeds),
                minutes=sum(seconds) / len(seconds) / 60 if seconds else math.nan,
            )
        )
    return found


def cells_of(done: Done) -> tuple[list[str], list[list[str]]]:
    """The table as texts, shares in percent: heads and lines; only columns that the study asks for."""
    study = done.study
    several, seeds = len(study.folds) > 1, len(study.seeds) > 1
    columns = {
        "network": lambda r: r.network,
        "top-1": lambda r: _percent(r.top1),
        "± folds": (lambda r: _percent(r.over_folds)) if several else None,
        "± seeds": (lambda r: _percent(r.over_seeds)) if seeds else None,
        f"− {study.reference} (95 %)": (lambda r: _difference(r.difference)) if study.reference else None,
        "back": (lambda r: _percent(r.backwards)) if study.backwards else None,
        "pairs": (lambda r: _percent(r.reversals and r.reversals[0])) if study.reversals else None,
        "swap": (lambda r: _percent(r.reversals and r.reversals[1])) if study.reversals else None,
        "ECE": lambda r: _percent(r.calibration),
        "(0)": lambda r: _percent(r.calibration_floor),
        "cells": lambda r: f"{r.cells}/{r.of}",
        "min": lambda r: EMPTY if _absent(r.minutes) else f"{r.minutes:.1f}",
    }
    shown = {head: value for head, value in columns.items() if value is not None}
    return list(shown), [[value(row) for value in shown.values()] for row in rows(done)]


def errors_of(done: Done, count: int) -> tuple[list[str], list[list[str]]]:
    """Where the errors lie, as texts: the clusters with the most of them, and each network's share right, percent."""
    heads = [" / ".join(done.study.cluster) or "clip", "clips", "errors", *done.study.networks]
    lines = [
        [c.name, str(c.clips), f"{c.errors:.1f}", *(_percent(c.right[n]) for n in done.study.networks)]
        for c in done.clusters()[:count]
    ]
    return heads, lines


def folds_of(done: Done) -> tuple[list[str], list[list[str]]]:
    """Each fold's top-1, as texts, and the lead over the reference with its interval over folds, percent."""
    study, lines = done.study, []
    for network in study.networks:
        top1 = done.folds(network)
        lead = [_interval(done.over_folds(network, study.reference))] if study.reference else []
        lines.append([network, *(_percent(top1.get(fold)) for fold in study.folds), *lead])
    return ["network", *study.folds, *([f"− {study.reference} over folds (95 %)"] if study.reference else [])], lines


def pairs_of(done: Done) -> tuple[list[str], list[list[str]]]:
    """Each pair of classes that are each other backwards, as texts: correct/predicted as the other, percent."""
    study, lines = done.study, []
    for network in study.networks:
        found = [done.reversals(network, pair) for pair in study.reversals]
        lines.append([network, *(EMPTY if f is None else f"{_percent(f[0])}/{_percent(f[1])}" for f in found)])
    return ["correct/predicted as the other", *("; ".join(pair) for pair in study.reversals)], lines


def extras(done: Done, *, errors: int, folds: bool, pairs: bool) -> dict[str, tuple[str, list[str], list[list[str]]]]:
    """Further tables that were asked for and have something to show, by name: title, heads and lines."""
    found = {}
    if done.cells and folds and len(done.study.folds) > 1:
        found["folds"] = ("Fold by fold", *folds_of(done))
    if done.cells and pairs and done.study.reversals:
        found["pairs"] = ("Classes that are each other backwards", *pairs_of(done))
    if done.cells and errors:
        found["errors"] = ("Where the errors lie", *errors_of(done, errors))
    return found


def rich_table(done: Done) -> Table:
    """For a terminal."""
    return rich_extra(done.study.title, *cells_of(done))


def rich_extra(title: str, heads: list[str], lines: list[list[str]]) -> Table:
    """One of `extras`, for a terminal."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    for i, head in enumerate(heads):  # on a narrow terminal only names, intervals and long heads are folded
        folds = not i or head.startswith("−") or len(head) > 14
        words = [len(word) for text in (head, *(line[i] for line in lines)) for word in text.split()]
        least = max(words) if folds else None
        table.add_column(head, justify="right" if i else "left", overflow="fold", no_wrap=not folds, min_width=least)
    for line in lines:
        table.add_row(*line)
    return table


def markdown(done: Done) -> str:
    """For a page, with the machines, dates and seeds below it."""
    return f"{marked(*cells_of(done))}\n\n{provenance(done)}"


def marked(heads: list[str], lines: list[list[str]]) -> str:
    """A table for a page."""
    return "\n".join([_line(heads), _line("---" for _ in heads), *map(_line, lines)])


def provenance(done: Done) -> str:
    """One line: clips, seeds, machines with their number of cells, from when to when, hours in all."""
    results = list(done.cells.values())
    total = len(list(done.study.cells()))
    if not results:
        return f"None of {total} cells is done."
    machines = Counter(_machine(result["machine"]) for result in results)
    where = [name if len(machines) == 1 else f"{count} on {name}" for name, count in machines.most_common()]
    dates = sorted(r["machine"]["date"][:10] for r in results)
    hours = sum(r["seconds"] for r in results) / 3600
    torch = sorted({r["machine"]["torch"].partition("+")[0] for r in results})
    seeds = ", ".join(map(str, sorted({cell.seed for cell in done.cells})))
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"{len(results)} of {total} cells; seed{'s' * (',' in seeds)} {seeds}; {', '.join(where)}; "
        f"PyTorch {', '.join(torch)}; {when}; {hours:.1f} hours of cells in all."
    )


def _machine(facts: dict[str, Any]) -> str:
    """The GPUs, if it had any, else the processor."""
    return " and ".join(facts["gpus"]) or f"{facts['processor']} ({facts['cores']} cores)"


def _line(texts: Any) -> str:
    return f"| {' | '.join(texts)} |"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _percent(value: float | None) -> str:
    return EMPTY if _absent(value) else f"{100 * value:.1f}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return EMPTY
    return _interval((found.value, found.low, found.high))


def _interval(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return EMPTY
    value, low, high = (100 * each for each in found)
    reach = "" if math.isnan(low) else f" ({low:+.1f} to {high:+.1f})"
    return f"{value:+.1f}{reach}".replace("-", "−")


def fill(page: str, studies: Sequence[Done]) -> str:
    """The page with each study's table between its marks: <!-- study NAME --> and <!-- end of NAME -->.

    Likewise those of `extras` where it has such marks: <!-- folds of NAME --> and <!-- end of folds of NAME -->.
    """
    for done in studies:
        name = done.study.name
        page = _between(page, f"<!-- study {name} -->", f"<!-- end of {name} -->", markdown(done))
        for what, (_, heads, lines) in extras(done, errors=10, folds=True, pairs=True).items():
            begin, end = f"<!-- {what} of {name} -->", f"<!-- end of {what} of {name} -->"
            page = _between(page, begin, end, marked(heads, lines))
    return page


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}" if found and closed else page
