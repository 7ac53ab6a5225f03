"""What was measured beside what a paper printed, and the difference in percentage points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from teinet.evaluation.published import Published, count_views
from teinet.report.outcome import Outcome


class Beside(NamedTuple):
    """A printed row, and measured minus printed, points; None where one of the two is not known."""

    printed: Published
    top1: float | None
    top5: float | None

    @property
    def num_views(self) -> int:
        """How many views of each clip the paper looked at."""
        return count_views(self.printed.views)


def beside(published: Sequence[Published], top1: float | None, top5: float | None) -> list[Beside]:
    """Each printed row beside measured shares, 0 to 1."""
    return [Beside(p, _points(top1, p.top1), _points(top5, p.top5)) for p in published]


def beside_test(outcome: Outcome) -> list[Beside]:
    """The printed rows that a test repeats, beside its own figures."""
    return beside(outcome.published, outcome.top1, outcome.top5)


def _points(measured: float | None, printed: float | None) -> float | None:
    return None if measured is None or printed is None else 100 * measured - printed
