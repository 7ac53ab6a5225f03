"""The comparison as plain values for JSON; numbers are not rounded, and what is not known is null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from teinet.report.beside import Beside, beside_test
from teinet.report.compare import Comparison
from teinet.report.groups import Group, Mean, Spread
from teinet.report.outcome import Outcome
from teinet.report.run import Run
from teinet.utils.text import printable


def plain(comparison: Comparison) -> dict[str, Any]:
    """Everything that a report says, and the logs."""
    classes = comparison.classes
    values = {
        "runs": [_run(run) for run in comparison.runs],
        "groups": [_group(group) for group in comparison.groups],
        "settings": comparison.settings,
        "classes": None
        if classes is None
        else {**vars(classes), "worst": _tuples(classes.worst), "best": _tuples(classes.best)},
        "notes": comparison.notes,
        "paper": comparison.paper,
    }
    return _finite(values)


def _run(run: Run) -> dict[str, Any]:
    done, asked = run.epochs
    return {
        "name": run.name,
        "folder": printable(run.folder),
        "trained": run.trained,
        "finished": run.finished,
        "epochs": done,
        "epochs_asked": asked,
        "network": run.network,
        "frames": run.frames,
        "parameters": run.parameters,
        "seconds": run.seconds,
        "unreadable": run.unreadable,
        "missing": run.missing,
        "warnings": _tuples(run.warnings),
        "problems": run.problems,
        "tests": [_outcome(outcome) for outcome in run.outcomes],
        "recipe": run.recipe,
        "facts": run.facts,
        "log": run.log,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        **vars(outcome),
        "num_views": outcome.num_views,
        "weights": _tuples(outcome.weights),
        "published": _beside(beside_test(outcome)),
        "classes": {name: result._asdict() for name, result in outcome.classes.items()},
        "confusion": None if outcome.confusion is None else printable(outcome.confusion),
    }


def _group(group: Group) -> dict[str, Any]:
    return {**vars(group), "means": [_mean(mean) for mean in group.means]}


def _mean(mean: Mean) -> dict[str, Any]:
    spreads = {name: value._asdict() for name, value in vars(mean).items() if isinstance(value, Spread)}
    rest = {name: value for name, value in vars(mean).items() if name != "beside"}
    return {**rest, **spreads, "published": _beside(mean.beside)}


def _beside(rows: Sequence[Beside]) -> list[dict[str, Any]]:
    return [{**b.printed.to_dict(), "top1_difference": b.top1, "top5_difference": b.top5} for b in rows]


def _finite(value: Any) -> Any:
    """The same without what JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tuples(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [value._asdict() for value in values]
