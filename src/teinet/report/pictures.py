"""The report's pictures as PNG: the curves of all runs, a picture for each quantity, and each run's own confusions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

from teinet.evaluation.curves import ONE, SEVERAL, TITLES, has_points, save_curves
from teinet.report.run import Run


class Picture(NamedTuple):
    """A picture, a name for its file, and what it shows."""

    name: str
    caption: str
    png: bytes


def curves(runs: Sequence[Run]) -> list[Picture]:
    """Training loss, training and validation top-1, learning rate over the epochs; those that some run logged."""
    logs = {run.name: run.log for run in runs if run.log}
    panels = ONE if len(logs) == 1 else SEVERAL
    shown = [panel for panel in panels if any(has_points(logs, column) for column in panel)]
    return [Picture(f"curves-{panel[0]}", TITLES[panel[0]], _png(logs, panel)) for panel in shown]


def confusions(runs: Sequence[Run]) -> list[Picture]:
    """What each run's first test left."""
    found = []
    for number, run in enumerate(runs, start=1):
        outcome = next((o for o in run.outcomes if o.confusion), None)
        if outcome is not None:
            name = f"confusion-{number}"
            found.append(Picture(name, f"{run.name}, {outcome.name}", outcome.confusion.read_bytes()))
    return found


def _png(logs: dict, panel: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    save_curves(logs, buffer, panels=[panel])
    return buffer.getvalue()
