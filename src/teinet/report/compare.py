"""The comparison: runs, the differences between their recipes, groups of repeated runs, and notes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from teinet.evaluation.published import paper_notes
from teinet.report.results import Outcome, PublishedRow, published_rows
from teinet.report.runs import Run, read_runs
from teinet.training.recipe import Recipe
from teinet.utils.text import printable

MOST = 10  # classes that improved most, and that worsened most
# Settings that may differ between repeated runs; name and output only choose the folder.
FOLDER_SETTINGS = ("run.name", "run.output")
VARIED = ("run.seed", "data.official_split", "data.test_fold", "data.seed")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) of n shares, 0 to 1."""

    mean: float
    deviation: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Mean:
    """One test, averaged over the runs of a group that have it, at least two."""

    name: str
    views: str
    split: str
    runs: list[str]
    top1: Spread | None
    top5: Spread | None
    mean_class_accuracy: Spread | None
    published: list[PublishedRow]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs with equal recipes except for `varied`, by setting the value in each run; `notes` limit the means."""

    name: str
    runs: list[str]
    varied: dict[str, list[Any]]
    means: list[Mean]
    notes: list[str]


@dataclass(frozen=True)
class ClassChange:
    """A class's accuracy in two tests, 0 to 1, and second minus first in points."""

    name: str
    first: float
    second: float
    points: float


@dataclass(frozen=True, kw_only=True)
class ClassChanges:
    """Changes in class accuracy from the first run to the second.

    Args:
        worst, best: the classes that worsened and improved most, the largest change first, at most `MOST`.
        classes, better, worse: the numbers of classes in both tests, and of those that improved and worsened.
        notes: limits of the comparison.
    """

    first: str
    second: str
    test: str
    worst: list[ClassChange]
    best: list[ClassChange]
    classes: int
    better: int
    worse: int
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The content of a report.

    Args:
        settings: those that differ: by name of the setting, then of the run, the value.
        classes: None unless exactly two runs with a comparable test are given.
        notes: conditions that differ between the runs.
        paper: where the paper contradicts itself or its sources.
    """

    runs: list[Run]
    groups: list[Group] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: ClassChanges | None = None
    notes: list[str] = field(default_factory=list)
    paper: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; numbers are not rounded, unknown values are None."""
        text = json.dumps(asdict(self), default=printable)  # of a path
        return json.loads(text, parse_constant=lambda _: None)


def compare(names: Sequence[str | Path]) -> Comparison:
    """Compare the runs in folders; raises as `read_runs`."""
    runs = read_runs(names)
    repeats = _groups(runs)
    printed = [p for run in runs for outcome in run.tests for p in outcome.published]
    return Comparison(
        runs=runs,
        groups=repeats,
        settings=_differing(runs),
        classes=_class_changes(*runs) if len(runs) == 2 else None,
        notes=list(_notes(runs, repeats)),
        paper=list(dict.fromkeys(paper_notes(printed))),
    )


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's settings by dotted names; those missing in an older version have their defaults."""
    flat: dict[str, Any] = {}
    for source in (asdict(Recipe()), recipe):
        for key, value in source.items():
            if isinstance(value, Mapping):
                flat |= {f"{key}.{name}": inner for name, inner in value.items()}
            elif key != "published":  # a paper's results, not a setting
                flat[key] = value
    return {name: value for name, value in flat.items() if name not in FOLDER_SETTINGS}


def _differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return the settings that differ: by name of the setting, then of the run, the value."""
    recipes = {run.name: _settings(run.recipe) for run in runs if run.recipe}
    names = dict.fromkeys(name for recipe in recipes.values() for name in recipe)
    table = {name: {run: recipe.get(name) for run, recipe in recipes.items()} for name in names}
    return {name: values for name, values in table.items() if len(set(map(_text, values.values()))) > 1}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _groups(runs: Sequence[Run]) -> list[Group]:
    """Return the groups of two runs or more, in the order of their first runs."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.recipe:
            same = {name: value for name, value in _settings(run.recipe).items() if name not in VARIED}
            alike.setdefault(_text(same), []).append(run)
    return [_group(some) for some in alike.values() if len(some) > 1]


def _group(runs: list[Run]) -> Group:
    each = [_settings(run.recipe) for run in runs]
    varied = {name: [one.get(name) for one in each] for name in VARIED}
    tests: dict[tuple[str, ...], dict[str, Outcome]] = {}
    for run in runs:
        for outcome in run.tests:
            if not outcome.members:
                files = [Path(str(weights["path"])).name for weights in outcome.weights]
                tests.setdefault((outcome.name, *outcome.protocol, *files), {})[run.name] = outcome
    notes = []
    if unfinished := [run.name for run in runs if not run.finished and run.tests]:
        notes.append(f"the mean includes unfinished runs: {', '.join(unfinished)}")
    if untested := [run.name for run in runs if not run.tests]:
        notes.append(f"not tested, so not in the mean: {', '.join(untested)}")
    return Group(
        name=str(runs[0].recipe.get("row") or runs[0].network),
        runs=[run.name for run in runs],
        varied={name: values for name, values in varied.items() if len(set(map(str, values))) > 1},
        means=[_mean(found) for found in tests.values() if len(found) > 1],
        notes=notes,
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
        published=published_rows(first.published, top1 and top1.mean, top5 and top5.mean),
    )


def _spread(values: list[float | None]) -> Spread | None:
    """Return mean and deviation; None if a test lacks the value, as the mean of the others is not that of the group."""
    known = [value for value in values if value is not None]
    return Spread(fmean(known), stdev(known), len(known)) if len(known) == len(values) else None


def _class_changes(first: Run, second: Run) -> ClassChanges | None:
    """Compare the classes of the first test that both runs have; return None if there is none."""
    pairs = [(one, other) for one in first.tests for other in second.tests if one.protocol == other.protocol]
    pairs = [(one, other) for one, other in pairs if set(one.classes) & set(other.classes)]
    if not pairs:
        return None
    one, other = min(pairs, key=lambda pair: pair[0].name != pair[1].name)
    both = [(name, share, other.classes[name]) for name, share in one.classes.items() if name in other.classes]
    changes = [ClassChange(name, a, b, 100 * (b - a)) for name, a, b in both]
    order = sorted(changes, key=lambda change: change.points)  # stable: equal ones stay in the list's order
    lost, won = [c for c in order if c.points < 0], [c for c in reversed(order) if c.points > 0]
    notes = []
    if one.data.get("sha256") != other.data.get("sha256"):
        notes.append("the two were tested on different clips")
    if left := len(set(one.classes) ^ set(other.classes)):
        notes.append(f"{left} classes are in one of them only")
    return ClassChanges(
        first=first.name,
        second=second.name,
        test=one.name if one.name == other.name else f"{one.name} and {other.name}",
        worst=lost[:MOST],
        best=won[:MOST],
        classes=len(changes),
        better=len(won),
        worse=len(lost),
        notes=notes,
    )


def _notes(runs: Sequence[Run], repeats: Sequence[Group]) -> Iterator[str]:
    """Yield differences in clips, versions and decoders."""
    for split, doing in (("train", "trained"), ("val", "validated")):
        used = {run.name: _clips(run.info.get("data", {}).get(split)) for run in runs}
        yield from _differences(f"{doing} on different clips", used, repeats)
    for name, protocol in dict.fromkeys((o.name, o.protocol) for run in runs for o in run.tests):
        used = {r.name: _clips(o.data) for r in runs for o in r.tests if (o.name, o.protocol) == (name, protocol)}
        yield from _differences(f"{name}: tested on different clips, so results are not comparable", used, repeats)
    for package in ("teinet", "torch", "timm"):
        used = {run.name: run.info.get("versions", {}).get(package) for run in runs}
        yield from _differences(f"different versions of {package}", used)
    used = {run.name: run.info.get("decoder", {}).get("libavcodec") for run in runs}
    yield from _differences("different decoders (libavcodec), whose pixels may differ", used)


def _clips(fingerprint: Mapping[str, Any] | None) -> str | None:
    return f"{fingerprint['clips']} ({fingerprint['sha256'][:8]})" if fingerprint else None


def _differences(what: str, used: Mapping[str, Any], repeats: Sequence[Group] = ()) -> Iterator[str]:
    """Yield a note on the runs by value, if known values differ and `repeats` do not differ in it on purpose."""
    known = {name: value for name, value in used.items() if value is not None}
    meant = any(known.keys() <= set(g.runs) and any(v.startswith("data.") for v in g.varied) for g in repeats)
    if len(set(map(str, known.values()))) > 1 and not meant:
        yield f"{what}: {names_by_value(known)}"


def names_by_value(values: Mapping[str, Any]) -> str:
    """Return names by their value: `0.01: a, b; 0.02: c`."""
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(str(value), []).append(name)
    return "; ".join(f"{value}: {', '.join(some)}" for value, some in names.items())
