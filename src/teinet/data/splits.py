"""Which clips train, validate and test: by folder, by a column's values, or by folds that keep a group together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from teinet.data.clips import ClipList, Row, read_rows, select, to_clips
from teinet.errors import AnnotationError, ConfigError

Split = Literal["train", "val", "test"]


@dataclass(kw_only=True)
class DataConfig:
    """Where the clips are and how they are divided.

    Args:
        path: a folder of class folders (optionally inside train/, val/, test/), or a csv with columns path and label.
        root: the folder that a csv's paths start from; by default the csv's own.
        train: rows that train, by a column's values: `subject=1,3,5`; several conditions, joined by `;`, must all hold.
            By default those that neither val nor test takes.
        val: rows that validate, written likewise.
        test: rows that no training sees, written likewise.
        folds: divide into this many folds (each with its share of every class); `test_fold` is tested, the rest train.
        test_fold: which fold is tested, 0 to folds - 1.
        group: a column whose values are never divided between folds, such as source_video or subject.
        val_share: share of the training clips held out for validation, 0 to 0.5; where `group` is set, whole groups,
            and the nearest 1/k. By default 0.2 where neither val nor test clips are named, otherwise 0.
        classes: class names in the order of their indices; by default the labels found, sorted.
        seed: starts the random numbers that divide into folds and hold out `val_share`.
    """

    path: str | None = None
    root: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    folds: int = 0
    test_fold: int = 0
    group: str | None = None
    val_share: float | None = None
    classes: list[str] | None = None
    seed: int = 0


def load_splits(config: DataConfig, class_names: Sequence[str] | None = None) -> dict[Split, ClipList]:
    """Read the list and divide it; a split that has no clips is absent. `class_names` overrule `config.classes`.

    Raises:
        AnnotationError: the list or a label in it is wrong.
        ConfigError: the division does not fit the list.
    """
    if config.path is None:
        raise ConfigError("no data given; name a folder of class folders or a csv with --data PATH")
    rows = read_rows(config.path, root=config.root)
    parts = _divide(rows, config)
    if class_names is None:  # to train on; a trained network may well be shown clips that nobody named
        for row in parts["train"] + parts["val"]:
            if row.label is None and any(r.label is not None for r in rows):
                raise AnnotationError(
                    config.path, f"{row.path} has no label, so it can neither train nor validate", row.line
                )
    names = list(class_names) if class_names is not None else config.classes
    if names is None:
        names = sorted({r.label for r in rows if r.label is not None})
        if not names:
            raise AnnotationError(config.path, "no clip has a label; a csv needs a `label` column")
    return {split: to_clips(part, names, source=config.path) for split, part in parts.items() if part}


def _divide(rows: list[Row], config: DataConfig) -> dict[Split, list[Row]]:
    source = config.path
    named = {"train": config.train, "val": config.val, "test": config.test}
    parts: dict[Split, list[Row]]
    if config.folds:
        if any(named.values()):
            raise ConfigError("give either folds or selections (train, val, test), not both")
        train, test = _fold(rows, config)
        parts = {"train": train, "val": [], "test": test}
    elif any(named.values()):
        parts = {k: select(rows, v, source=source) if v else [] for k, v in named.items()}
        if not config.train:  # everything that the other selections leave
            taken = {id(r) for part in parts.values() for r in part}
            parts["train"] = [r for r in rows if id(r) not in taken]
        _refuse_overlap(parts, source)
    elif "split" in rows[0].columns:
        alias = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
        parts = {"train": [], "val": [], "test": []}
        for row in rows:
            text = row.columns["split"].lower()
            split = alias.get(text, text)
            if split not in parts:
                raise AnnotationError(source, f"split {row.columns['split']!r} is none of train, val, test", row.line)
            parts[split].append(row)
    else:
        parts = {"train": list(rows), "val": [], "test": []}
    share = config.val_share
    if share is None:
        share = 0.0 if parts["val"] or parts["test"] else 0.2
    if share and not parts["val"]:
        parts["train"], parts["val"] = _hold_out(parts["train"], share, config)
    return parts


def _refuse_overlap(parts: dict[Split, list[Row]], source: object) -> None:
    seen: dict[int, str] = {}
    for split, part in parts.items():
        for row in part:
            if (other := seen.setdefault(id(row), split)) != split:
                raise ConfigError(f"{source}: {row.path} is selected for both {other} and {split}")


def _groups(rows: list[Row], config: DataConfig) -> np.ndarray | None:
    if config.group is None:
        return None
    if config.group not in rows[0].columns:
        raise ConfigError(
            f"{config.path} has no column {config.group!r} to group by; it has {', '.join(rows[0].columns)}"
        )
    return np.array([r.columns[config.group] for r in rows])


def _fold(rows: list[Row], config: DataConfig) -> tuple[list[Row], list[Row]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if config.folds < 2:
        raise ConfigError(f"folds is {config.folds}; to train on some and test on others takes at least 2")
    if not 0 <= config.test_fold < config.folds:
        raise ConfigError(
            f"test_fold {config.test_fold} does not exist with {config.folds} folds (0 to {config.folds - 1})"
        )
    labels, groups = np.array([r.label or "" for r in rows]), _groups(rows, config)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(config.folds, shuffle=True, random_state=config.seed)
    count, unit = (len(rows), "clips") if groups is None else (len(set(groups)), f"values of {config.group}")
    if count < config.folds:
        raise ConfigError(f"{config.path}: {count} {unit} cannot be divided into {config.folds} folds")
    try:
        with warnings.catch_warnings():  # a class with fewer clips than folds is missing from some, which is no mistake
            warnings.simplefilter("ignore", UserWarning)
            train, test = list(folds.split(labels, labels, groups))[config.test_fold]
    except ValueError as error:
        raise ConfigError(f"{config.path}: cannot be divided into {config.folds} folds: {error}") from error
    if not len(test):
        raise ConfigError(f"{config.path}: fold {config.test_fold} of {config.folds} is empty; take fewer folds")
    return [rows[i] for i in train], [rows[i] for i in test]


def _hold_out(rows: list[Row], share: float, config: DataConfig) -> tuple[list[Row], list[Row]]:
    """About `share` of each class, at least one clip of a class that has two; whole groups where there are groups."""
    if not 0 < share <= 0.5:
        raise ConfigError(f"val_share {share} is outside 0 to 0.5")
    if config.group is not None:
        inner = DataConfig(path=config.path, folds=max(2, round(1 / share)), group=config.group, seed=config.seed)
        return _fold(rows, inner)
    rng = np.random.default_rng(config.seed)
    by_label: dict[str | None, list[int]] = {}
    for i, row in enumerate(rows):
        by_label.setdefault(row.label, []).append(i)
    held: set[int] = set()
    for members in by_label.values():
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held.update(rng.permutation(members)[:count].tolist())
    return [r for i, r in enumerate(rows) if i not in held], [r for i, r in enumerate(rows) if i in held]
