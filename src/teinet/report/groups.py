"""Runs of one recipe with several seeds, divisions or folds: the mean of their tests and how far they scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, NamedTuple

from teinet.report.beside import Beside, beside
from teinet.report.outcome import Outcome
from teinet.report.run import Run
from teinet.report.settings import VARIED, flat, without_varied


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1) of n shares, 0 to 1."""

    mean: float
    deviation: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Mean:
    """One test over the runs of a group that have it, two at least."""

    name: str
    views: str
    split: str
    runs: list[str]
    top1: Spread | None
    top5: Spread | None
    mean_class_accuracy: Spread | None
    beside: list[Beside] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs whose recipes are equal but for what `varied` says: setting and each run's value.

    Args:
        notes: what the mean is worth less for.
    """

    name: str
    runs: list[str]
    varied: dict[str, list[Any]]
    means: list[Mean]
    notes: list[str] = field(default_factory=list)


def groups(runs: Sequence[Run]) -> list[Group]:
    """The groups of two runs and more, in the order of their first runs."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.recipe:
            alike.setdefault(without_varied(run.recipe), []).append(run)
    return [_group(some) for some in alike.values() if len(some) > 1]


def _group(runs: list[Run]) -> Group:
    settings = [flat(run.recipe) for run in runs]
    values = {name: [setting.get(name) for setting in settings] for name in VARIED}
    varied = {name: each for name, each in values.items() if len(set(map(str, each))) > 1}
    return Group(
        name=str(runs[0].recipe.get("row") or runs[0].network),
        runs=[run.name for run in runs],
        varied=varied,
        means=_means(runs),
        notes=_notes(runs, values),
    )


def _means(runs: list[Run]) -> list[Mean]:
    tests: dict[tuple[str, ...], list[tuple[Run, Outcome]]] = {}
    for run in runs:
        for outcome in run.outcomes:
            if not outcome.members:
                tests.setdefault(outcome.key, []).append((run, outcome))
    return [_mean(found) for found in tests.values() if len(found) > 1]


def _mean(found: list[tuple[Run, Outcome]]) -> Mean:
    outcomes = [outcome for _, outcome in found]
    top1, top5, classes = (
        _spread([getattr(outcome, name) for outcome in outcomes]) for name in ("top1", "top5", "mean_class_accuracy")
    )
    return Mean(
        name=outcomes[0].name,
        views=outcomes[0].views,
        split=outcomes[0].split,
        runs=[run.name for run, _ in found],
        top1=top1,
        top5=top5,
        mean_class_accuracy=classes,
        beside=beside(outcomes[0].published, top1 and top1.mean, top5 and top5.mean),
    )


def _spread(values: list[float | None]) -> Spread | None:
    """None where one of the tests did not measure it: a mean of the others would be of other runs than it says."""
    known = [value for value in values if value is not None]
    return Spread(fmean(known), stdev(known), len(known)) if len(known) == len(values) else None


def _notes(runs: list[Run], values: dict[str, list[Any]]) -> list[str]:
    notes = []
    same: dict[str, list[str]] = {}
    for number, run in enumerate(runs):
        same.setdefault(str([each[number] for each in values.values()]), []).append(run.name)
    for names in same.values():
        if len(names) > 1:
            notes.append(f"{', '.join(names)} have the same seed and division: they repeat, and do not sample")
    if unfinished := [run.name for run in runs if not run.finished and run.outcomes]:
        notes.append(f"the mean counts unfinished runs: {', '.join(unfinished)}")
    if untested := [run.name for run in runs if not run.outcomes]:
        notes.append(f"not tested, so not in the mean: {', '.join(untested)}")
    return notes
