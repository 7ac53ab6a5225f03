"""What differs between recipes; runs of one recipe with several seeds or divisions: their mean and how they scatter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from teinet.report.outcome import Outcome, PrintedRow, printed_rows
from teinet.report.runs import Run
from teinet.training.recipe import Recipe

# What may differ between runs that repeat each other; name and output only say where a run lies.
PLACE = ("run.name", "run.output")
VARIED = ("run.seed", "data.division", "data.test_fold", "data.seed")


@dataclass(frozen=True)
class Spread:
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
    published: list[PrintedRow]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs whose recipes are equal but for what `varied` says: setting and each run's value.

    Args:
        notes: what the mean is worth less for.
    """

    name: str
    runs: list[str]
    varied: dict[str, list[Any]]
    means: list[Mean] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Return the groups of two runs and more, in the order of their first runs."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.recipe:
            same = {name: value for name, value in settings(run.recipe).items() if name not in PLACE + VARIED}
            alike.setdefault(_text(same), []).append(run)
    return [_group(some) for some in alike.values() if len(some) > 1]


def differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return the settings that differ: name of the setting, then of the run, then the value."""
    recipes = {run.name: settings(run.recipe) for run in runs if run.recipe}
    names = dict.fromkeys(name for recipe in recipes.values() for name in recipe if name not in PLACE)
    table = {name: {run: recipe.get(name) for run, recipe in recipes.items()} for name in names}
    return {name: values for name, values in table.items() if len({_text(value) for value in values.values()}) > 1}


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's settings by names with dots; those that an older version did not know have their defaults."""
    flat: dict[str, Any] = {}
    for source in (asdict(Recipe()), recipe):
        for key, value in source.items():
            if isinstance(value, Mapping):
                flat |= {f"{key}.{name}": inner for name, inner in value.items()}
            elif key != "published":  # figures of a paper, no setting
                flat[key] = value
    return flat


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _group(runs: list[Run]) -> Group:
    each = [settings(run.recipe) for run in runs]
    values = {name: [one.get(name) for one in each] for name in VARIED}
    tests: dict[tuple[str, ...], dict[str, Outcome]] = {}
    for run in runs:
        for outcome in run.outcomes:
            if not outcome.members:
                tests.setdefault(outcome.key, {})[run.name] = outcome
    return Group(
        name=str(runs[0].recipe.get("row") or runs[0].network),
        runs=[run.name for run in runs],
        varied={name: found for name, found in values.items() if len(set(map(str, found))) > 1},
        means=[_mean(found) for found in tests.values() if len(found) > 1],
        notes=_notes(runs, values),
    )


def _mean(tests: dict[str, Outcome]) -> Mean:
    outcomes = list(tests.values())
    first = outcomes[0]
    top1, top5 = _spread([o.top1 for o in outcomes]), _spread([o.top5 for o in outcomes])
    return Mean(
        name=first.name,
        views=first.views,
        split=first.split,
        runs=list(tests),
        top1=top1,
        top5=top5,
        mean_class_accuracy=_spread([o.mean_class_accuracy for o in outcomes]),
        published=printed_rows([p.published for p in first.published], top1 and top1.mean, top5 and top5.mean),
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
