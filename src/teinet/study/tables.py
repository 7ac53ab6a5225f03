"""A study's table: each network's top-1 with its spread, its lead over the reference, backwards, reversals, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from teinet.study.results import Done
from teinet.study.statistics import Difference

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
        seconds = [sum(result["seconds"].values()) for result in results]
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


def rich_table(done: Done) -> Table:
    """For a terminal."""
    return _rich(done.study.title, *cells_of(done))


def rich_errors(done: Done, count: int) -> Table:
    """Where the errors lie, for a terminal."""
    return _rich("Where the errors lie", *errors_of(done, count))


def _rich(title: str, heads: list[str], lines: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    for i, head in enumerate(heads):  # on a narrow terminal only names and intervals are folded
        folds = not i or head.startswith("−")
        words = [len(word) for text in (head, *(line[i] for line in lines)) for word in text.split()]
        least = max(words) if folds else None
        table.add_column(head, justify="right" if i else "left", overflow="fold", no_wrap=not folds, min_width=least)
    for line in lines:
        table.add_row(*line)
    return table


def markdown(done: Done) -> str:
    """For a page, with the machines, dates and seeds below it."""
    return f"{_marked(*cells_of(done))}\n\n{provenance(done)}"


def markdown_errors(done: Done, count: int = 10) -> str:
    """Where the errors lie, for a page."""
    return _marked(*errors_of(done, count))


def _marked(heads: list[str], lines: list[list[str]]) -> str:
    return "\n".join([_line(heads), _line("---" for _ in heads), *map(_line, lines)])


def provenance(done: Done) -> str:
    """One line: clips, seeds, machines with their number of cells, from when to when, hours in all."""
    results = list(done.cells.values())
    total = len(list(done.study.cells()))
    if not results:
        return f"None of {total} cells is done."
    machines = Counter(f"{r['machine']['processor']}, {r['machine']['cores']} cores" for r in results)
    gpus = Counter(gpu for r in results for gpu in r["machine"]["gpus"])
    dates = sorted(r["machine"]["date"][:10] for r in results)
    hours = sum(sum(r["seconds"].values()) for r in results) / 3600
    torch = sorted({r["machine"]["versions"]["torch"].partition("+")[0] for r in results})
    seeds = ", ".join(map(str, done.study.seeds))
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"{len(results)} of {total} cells; seeds {seeds}; {' and '.join([*machines, *gpus])}; PyTorch "
        f"{', '.join(torch)}; {when}; {hours:.1f} hours of cells in all."
    )


def _line(texts: Any) -> str:
    return f"| {' | '.join(texts)} |"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _percent(value: float | None) -> str:
    return EMPTY if _absent(value) else f"{100 * value:.1f}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return EMPTY
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})".replace("-", "−")


def fill(page: str, studies: Sequence[Done]) -> str:
    """The page with each study's table between its marks: <!-- study NAME --> and <!-- end of NAME -->.

    Where it has <!-- errors of NAME --> and <!-- end of errors of NAME -->, also with what `markdown_errors` gives.
    """
    for done in studies:
        name = done.study.name
        page = _between(page, f"<!-- study {name} -->", f"<!-- end of {name} -->", markdown(done))
        if done.cells:
            begin, end = f"<!-- errors of {name} -->", f"<!-- end of errors of {name} -->"
            page = _between(page, begin, end, markdown_errors(done))
    return page


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}" if found and closed else page
