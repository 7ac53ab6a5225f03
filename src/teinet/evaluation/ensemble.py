"""Several networks' scores of the same clips, averaged: classes are matched by name, clips by path or name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from teinet.errors import ConfigError
from teinet.evaluation.scores import Scores


def average(members: Sequence[Scores], weights: Sequence[float] | None = None, names: Sequence[str] = ()) -> Scores:
    """Return the weighted mean of the members' probabilities, in the first member's order of clips and classes.

    A clip that any member could not read has no scores.

    Args:
        members: at least one; of the same classes and clips, in any order.
        weights: one a member, none below 0, their sum above 0; None weighs all alike.
        names: of the members, in messages.

    Raises:
        ConfigError: classes, clips or labels differ, or weights do not fit.
    """
    names = list(names) or [str(i + 1) for i in range(len(members))]
    if weights is None:
        weights = [1.0] * len(members)
    if len(weights) != len(members):
        raise ConfigError(f"{len(weights)} weights for {len(members)} networks; give one for each")
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise ConfigError(f"weights {', '.join(f'{w:g}' for w in weights)}: none below 0, and their sum above 0")
    first = members[0]
    share = np.asarray(weights, dtype=np.float64) / sum(weights)
    total = share[0] * first.probabilities
    reasons: list[str] = list(first.reasons)
    for member, name, weight in zip(members[1:], names[1:], share[1:]):
        columns = _columns(first, member, names[0], name)
        rows = _rows(first, member, names[0], name)
        if (known := _other_labels(first, member, columns, rows)) is not None:
            raise ConfigError(f"{name} knows {first.paths[known]} under another label than {names[0]}")
        total += weight * member.probabilities[rows][:, columns]
        reasons = [mine or member.reasons[int(row)] for mine, row in zip(reasons, rows)]
    return Scores(
        paths=first.paths,
        labels=first.labels,
        probabilities=total,
        class_names=first.class_names,
        reasons=reasons,
        meta=_meta(members, names, weights),
        names=first.names,
    )


def _columns(first: Scores, member: Scores, one: str, other: str) -> list[int]:
    """Where `member` keeps each class of `first`."""
    place = {name: i for i, name in enumerate(member.class_names)}
    missing = [name for name in first.class_names if name not in place]
    extra = sorted(set(place) - set(first.class_names))
    if missing or extra:
        only = f"only {one} knows {missing[0]!r}" if missing else f"only {other} knows {extra[0]!r}"
        counts = f"{len(first.class_names)} and {len(member.class_names)} classes"
        raise ConfigError(f"{one} and {other} name other classes ({counts}; {only}), so they cannot be averaged")
    return [place[name] for name in first.class_names]


def _rows(first: Scores, member: Scores, one: str, other: str) -> np.ndarray:
    """Where `member` keeps each clip of `first`: in the same order, or found by its path below the common folder."""
    if len(first) != len(member):
        raise ConfigError(f"{one} was tested on {len(first)} clips, {other} on {len(member)}; test both on the same")
    mine, theirs = _inside(first.paths), _inside(member.paths)
    if mine == theirs:
        return np.arange(len(first))
    ids = set(first.names), set(member.names)
    if set(mine) != set(theirs) and ids[0] == ids[1] and len(ids[0]) == len(first):
        mine, theirs = list(first.names), list(member.names)  # the same clips as videos and as images
    place = {path: i for i, path in enumerate(theirs)}
    if len(place) < len(theirs) or len(set(mine)) < len(mine):
        raise ConfigError(f"{one} and {other} list parts of the same files in another order; test both on one list")
    lost = next((path for path in mine if path not in place), None)
    if lost is not None:
        raise ConfigError(f"{other} was not tested on {lost}, but {one} was; test both on the same clips")
    return np.array([place[path] for path in mine], dtype=np.int64)


def _inside(paths: Sequence[str]) -> list[str]:
    """Paths from their common folder on: the same data may lie elsewhere on another machine."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        root = os.path.commonpath(folders) if folders else ""
    except ValueError:
        root = ""
    return [path[len(root) :].lstrip(os.sep) for path in paths]


def _other_labels(first: Scores, member: Scores, columns: list[int], rows: np.ndarray) -> int | None:
    """The first clip whose label the two name differently; a label that one does not know is no difference."""
    back = np.full(len(columns) + 1, -1)
    back[columns] = np.arange(len(columns))
    theirs = back[member.labels[rows]]
    differ = (first.labels != theirs) & (first.labels >= 0) & (theirs >= 0)
    return int(differ.argmax()) if differ.any() else None


def _meta(members: Sequence[Scores], names: Sequence[str], weights: Sequence[float]) -> dict[str, Any]:
    shared = {key: value for key, value in members[0].meta.items() if all(m.meta.get(key) == value for m in members)}
    shared["members"] = [
        {"name": name, "weight": weight, "top1": None if np.isnan(m.top1) else m.top1, **m.meta}
        for name, weight, m in zip(names, weights, members)
    ]
    return shared
