"""The comparison: runs, what differs between their recipes, groups that repeat each other, and what must be known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from teinet.evaluation.published import notes as paper_notes
from teinet.report.groups import Group, differing, groups
from teinet.report.runs import Run, read_runs
from teinet.utils.text import printable

MOST = 10  # classes that won, and that lost


@dataclass(frozen=True)
class Change:
    """A class's accuracy in two tests, shares, and what the second has more, points."""

    name: str
    first: float
    second: float
    points: float


@dataclass(frozen=True, kw_only=True)
class ClassChanges:
    """From the first run to the second.

    Args:
        test: what was compared.
        worst: the classes that lost most, the worst first, `MOST` at most.
        best: those that won most, the best first.
        classes: how many both tests know.
        better, worse: how many of them won and lost.
        notes: what the comparison is worth less for.
    """

    first: str
    second: str
    test: str
    worst: list[Change]
    best: list[Change]
    classes: int
    better: int
    worse: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a report says.

    Args:
        settings: those that differ: name of the setting, then of the run, then the value.
        classes: where exactly two runs are compared.
        notes: in what the runs do not compare.
        paper: where the paper contradicts itself or its sources.
    """

    runs: list[Run]
    groups: list[Group] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: ClassChanges | None = None
    notes: list[str] = field(default_factory=list)
    paper: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[tuple[Run, str]]:
        """Damaged files, each with its run."""
        return [(run, problem) for run in self.runs for problem in run.problems]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; numbers are not rounded, and what is not known is None."""
        values = asdict(self)
        for run, shown in zip(self.runs, values["runs"]):
            done, asked = run.epochs
            shown |= {"folder": printable(run.folder), "finished": run.finished, "epochs": done, "epochs_asked": asked}
            shown |= {name: getattr(run, name) for name in ("network", "frames", "parameters", "seconds")}
            shown["tests"] = [_with_rows(test) for test in shown.pop("outcomes")]
        for group in values["groups"]:
            group["means"] = [_with_rows(mean) for mean in group["means"]]
        return _plain(values)


def compare(names: Sequence[str | Path]) -> Comparison:
    """Read the runs in folders, and compare them.

    Args:
        names: folders of runs, or folders that hold runs.

    Raises:
        ConfigError: a folder that holds no run.
    """
    runs = read_runs(names)
    repeats = groups(runs)
    printed = [p.published for run in runs for outcome in run.outcomes for p in outcome.published]
    return Comparison(
        runs=runs,
        groups=repeats,
        settings=differing(runs),
        classes=_class_changes(*runs) if len(runs) == 2 else None,
        notes=list(_notes(runs, repeats)),
        paper=list(dict.fromkeys(paper_notes(printed))),
    )


def _class_changes(first: Run, second: Run) -> ClassChanges | None:
    """Compare the first test that both runs have; None where there is none with classes."""
    pairs = [(one, other) for one in first.outcomes for other in second.outcomes if one.protocol == other.protocol]
    pairs = [(one, other) for one, other in pairs if set(one.classes) & set(other.classes)]
    if not pairs:
        return None
    one, other = next((pair for pair in pairs if pair[0].name == pair[1].name), pairs[0])
    both = [(name, share, other.classes[name]) for name, share in one.classes.items() if name in other.classes]
    changes = [Change(name, a, b, 100 * (b - a)) for name, a, b in both]
    order = sorted(changes, key=lambda change: change.points)  # stable: equal ones stay in the list's order
    lost, won = [c for c in order if c.points < 0], [c for c in reversed(order) if c.points > 0]
    notes = []
    if one.data.get("sha256") != other.data.get("sha256"):
        notes.append("the two were tested on different clips")
    if left := len(set(one.classes) ^ set(other.classes)):
        notes.append(f"{left} classes are known to one of them only")
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
    """Clips, versions and decoders that were not the same."""
    for split, doing in (("train", "trained"), ("val", "validated")):
        used = {run.name: _clips((run.facts.get("data") or {}).get(split)) for run in runs}
        yield from _apart(f"{doing} on different clips", used, repeats)
    tests = dict.fromkeys((o.name, o.protocol) for run in runs for o in run.outcomes)
    for test in tests:
        used = {run.name: _clips(o.data) for run in runs for o in run.outcomes if (o.name, o.protocol) == test}
        yield from _apart(f"{test[0]}: tested on different clips, so its figures do not compare", used, repeats)
    for package in ("teinet", "torch", "timm"):
        used = {run.name: (run.facts.get("versions") or {}).get(package) for run in runs}
        yield from _apart(f"different versions of {package}", used)
    used = {run.name: (run.facts.get("decoder") or {}).get("libavcodec") for run in runs}
    yield from _apart("different decoders (libavcodec), whose pixels may differ", used)


def _clips(fingerprint: Any) -> str | None:
    if not isinstance(fingerprint, Mapping) or "sha256" not in fingerprint:
        return None
    return f"{fingerprint.get('clips', '?')} ({str(fingerprint['sha256'])[:8]})"


def _apart(what: str, used: Mapping[str, Any], repeats: Sequence[Group] = ()) -> Iterator[str]:
    """Who used what, where not all that are known used the same; not where `repeats` differ in just that."""
    who: dict[str, list[str]] = {}
    for name, value in used.items():
        if value is not None:
            who.setdefault(str(value), []).append(name)
    names = {name for some in who.values() for name in some}
    meant = any(names <= set(g.runs) and any(v.startswith("data.") for v in g.varied) for g in repeats)
    if len(who) > 1 and not meant:
        yield f"{what}: " + "; ".join(f"{value}: {', '.join(some)}" for value, some in who.items())


def _with_rows(test: dict[str, Any]) -> dict[str, Any]:
    """Each printed row as one object: what was printed, and the differences."""
    rows = [{**row.pop("published"), **row} for row in test["published"]]
    return {**test, "published": rows}


def _plain(value: Any) -> Any:
    """The same in what JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return printable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
