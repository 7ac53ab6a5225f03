"""Ensembles: the scores of several networks on the same clips, averaged; classes are matched by name, clips by path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from teinet.data.video import image_folder
from teinet.errors import ConfigError
from teinet.evaluation.scores import Scores


def average(members: Sequence[Scores], weights: Sequence[float] | None = None, names: Sequence[str] = ()) -> Scores:
    """Return the weighted mean of the members' probabilities, in the first member's order of clips and classes.

    A clip that any member could not read has no scores.

    Args:
        members: at least one; with the same classes and clips, in any order.
        weights: one for each member, at least 0, with a sum above 0; None weights all equally.
        names: the members' names in messages.

    Raises:
        ConfigError: classes, clips or labels differ, clips have several labels, or the weights are invalid.
    """
    names = list(names) or [str(i + 1) for i in range(len(members))]
    if several := [name for name, member in zip(names, members) if member.label_sets is not None]:
        raise ConfigError(
            f"{several[0]}: scores of clips with several labels cannot be averaged; test one network alone"
        )
    if weights is None:
        weights = [1.0] * len(members)
    if len(weights) != len(members):
        raise ConfigError(f"{len(weights)} ensemble weights for {len(members)} networks; give one for each")
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        given = ", ".join(f"{w:g}" for w in weights)
        raise ConfigError(f"ensemble weights are {given}; each must be at least 0, and their sum above 0")
    first = members[0]
    share = np.asarray(weights, dtype=np.float64) / sum(weights)
    total = share[0] * first.probabilities
    reasons, damages = list(first.reasons), list(first.damages)
    for member, name, weight in zip(members[1:], names[1:], share[1:]):
        columns = _columns(first, member, names[0], name)
        rows = _rows(first, member, names[0], name)
        if (known := _label_conflict(first, member, columns, rows)) is not None:
            raise ConfigError(
                f"{names[0]} and {name} have different labels for {first.paths[known]}; test both on the same list"
            )
        total += weight * member.probabilities[rows][:, columns]
        reasons = [mine or member.reasons[int(row)] for mine, row in zip(reasons, rows)]
        damages = [mine or member.damages[int(row)] for mine, row in zip(damages, rows)]
    return Scores(
        paths=first.paths,
        labels=first.labels,
        probabilities=total,
        class_names=first.class_names,
        reasons=reasons,
        damages=damages,
        meta=_meta(members, names, weights),
        names=first.names,
    )


def _columns(first: Scores, member: Scores, one: str, other: str) -> list[int]:
    """Return the column in `member` of each class of `first`."""
    place = {name: i for i, name in enumerate(member.class_names)}
    missing = [name for name in first.class_names if name not in place]
    extra = sorted(set(place) - set(first.class_names))
    if missing or extra:
        only = f"only {one} has {missing[0]!r}" if missing else f"only {other} has {extra[0]!r}"
        counts = f"{len(first.class_names)} and {len(member.class_names)} classes"
        raise ConfigError(f"{one} and {other} have different classes ({counts}; {only}) and cannot be averaged")
    return [place[name] for name in first.class_names]


def _rows(first: Scores, member: Scores, one: str, other: str) -> np.ndarray:
    """Return the row in `member` of each clip of `first`, matched by order or by path below the common folder."""
    if len(first) != len(member):
        counts = f"{one} was tested on {len(first)} clips, {other} on {len(member)}"
        raise ConfigError(f"{counts}; test both on the same clips (--data PATH)")
    mine, theirs = _inside(first.paths), _inside(member.paths)
    if mine == theirs:
        return np.arange(len(first))
    if set(mine) != set(theirs):  # two series of images of the same folders: RGB and optical flow
        mine, theirs = (_inside([image_folder.split(path)[0] for path in each.paths]) for each in (first, member))
    ids = set(first.names), set(member.names)
    if set(mine) != set(theirs) and ids[0] == ids[1] and len(ids[0]) == len(first):
        mine, theirs = list(first.names), list(member.names)  # the same clips as videos and as images
    place = {path: i for i, path in enumerate(theirs)}
    if len(place) < len(theirs) or len(set(mine)) < len(mine):
        raise ConfigError(f"{one} and {other} have several clips per file in different orders; test both on one list")
    lost = next((path for path in mine if path not in place), None)
    if lost is not None:
        raise ConfigError(f"{other} was not tested on {lost}, but {one} was; test both on the same clips (--data)")
    return np.array([place[path] for path in mine], dtype=np.int64)


def _inside(paths: Sequence[str]) -> list[str]:
    """Return paths relative to their common folder, as the same data may be elsewhere on another machine."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        root = os.path.commonpath(folders) if folders else ""
    except ValueError:
        root = ""
    return [path[len(root) :].lstrip(os.sep) for path in paths]


def _label_conflict(first: Scores, member: Scores, columns: list[int], rows: np.ndarray) -> int | None:
    """Return the first clip with different labels in the two; unknown labels are not compared."""
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
