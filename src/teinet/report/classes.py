"""Two tests class by class: where one is better, and where it is worse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from teinet.report.outcome import Outcome
from teinet.report.run import Run

MOST = 10


class Change(NamedTuple):
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


def class_changes(first: Run, second: Run) -> ClassChanges | None:
    """Compare the first test that both runs have; None where there is none with classes."""
    found = _shared(first, second)
    if found is None:
        return None
    one, other = found
    both = [
        (name, result.accuracy, other.classes[name].accuracy)
        for name, result in one.classes.items()
        if name in other.classes
    ]
    changes = [Change(name, a, b, 100 * (b - a)) for name, a, b in both if a is not None and b is not None]
    if not changes:
        return None
    order = sorted(changes, key=lambda change: change.points)  # stable: equal ones stay in the list's order
    lost, won = [c for c in order if c.points < 0], [c for c in reversed(order) if c.points > 0]
    notes = []
    if one.fingerprint != other.fingerprint:
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


def _shared(first: Run, second: Run) -> tuple[Outcome, Outcome] | None:
    """The first pair of tests of one name and protocol, or else of one protocol."""
    pairs = [(one, other) for one in first.outcomes for other in second.outcomes if one.classes and other.classes]
    named = [(one, other) for one, other in pairs if (one.name, one.protocol) == (other.name, other.protocol)]
    alike = [(one, other) for one, other in pairs if one.protocol == other.protocol]
    return next(iter(named + alike), None)
