"""Training, validation and test splits: from the list, by a column's values, or by folds that keep groups together."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from teinet.data.lists.data_config import DataConfig, check_max_damaged, check_path
from teinet.data.lists.formats import Listing, Options, read_listing
from teinet.data.lists.formats.base import numbers_as_names
from teinet.data.lists.labels import labels_alike, read_class_names, several_labels
from teinet.data.lists.rows import (
    SPLITS,
    ClipList,
    Row,
    absent,
    conflicts,
    merged,
    no_labels,
    overlaps,
    select,
    spelling_hint,
    to_clips,
)
from teinet.errors import AnnotationError, ConfigError
from teinet.utils.text import count

log = logging.getLogger("teinet")


class Splits(dict[str, ClipList]):
    """Clips by split, with the same class names; empty splits are absent. `source` is the list that was read."""

    source: Listing


def load_splits(config: DataConfig, class_names: Sequence[str] | None = None) -> Splits:
    """Read a list and split it; `class_names` of a trained network override those of the list and `config`.

    Raises:
        AnnotationError: the list or a label in it is invalid.
        ConfigError: the splits cannot be made from the list.
    """
    listing = read_config(config)
    if class_names is None and all(row.label is None for row in listing.rows):  # before clips are said to be missing
        raise AnnotationError(config.path, no_labels(listing.rows))
    listing = _present(listing, config)
    rows = listing.rows
    if class_names is not None and listing.numbered and not {n for r in rows for n in r.labels} <= set(class_names):
        listing.notes.append("the list's numbers are used as indices of the network's classes")
        rows = [_named(row, class_names) for row in rows]
    parts, drawn = _split(rows, config)
    for overlap in overlaps(parts):
        what = f"{overlap.clips} clips are" if overlap.clips else f"{overlap.files} files have segments"
        what = f"{overlap.files} files have copies" if overlap.copies else what
        where = f"both in {overlap.one} and in {overlap.other}, for example {overlap.example}"
        advice = "" if overlap.clips or overlap.copies else " (data.group path keeps a file's segments together)"
        log.warning("%s: %s %s; accuracies measured on them are too high%s", config.path, what, where, advice)
    if found := [conflict for conflict in conflicts(rows) if conflict.same]:
        log.warning("%s: two labels of %s, each is trained on: %s", config.path, count(len(found), "clip"), found[0])
    if class_names is None and not config.multi_label:  # for training; a trained network may be given unlabeled clips
        for row in parts["train"] + parts["val"]:
            if row.label is None and any(r.label is not None for r in rows):
                raise AnnotationError(row.file or config.path, f"{row.path} has no label; training needs one", row.line)
    names = list(class_names) if class_names is not None else listing.class_names
    if names is None:
        names = sorted({name for r in rows for name in r.labels})
        for warning in filter(None, (several_labels(names), labels_alike(names))):
            log.warning("%s: %s", config.path, warning)
    splits = Splits(
        {
            split: to_clips(
                part,
                names,
                source=config.path,
                max_damaged=config.max_damaged,
                groups=_groups(part, config) or (),
                multi_label=config.multi_label,
            )
            for split, part in parts.items()
            if part
        }
    )
    splits.source = replace(listing, drawn=drawn)
    return splits


def read_config(config: DataConfig) -> Listing:
    """Read all rows of `config`, from one list or several; raises as `read_listing`."""
    source = check_path(config.path)
    check_max_damaged(config.max_damaged, "data.max_damaged")
    names = config.classes
    if config.labels is not None:
        if names is not None:
            raise ConfigError("data.classes and data.labels both name the classes; give one of them")
        names = read_class_names(config.labels)
    options = Options(
        official_split=config.official_split, image_names=config.image_names, class_names=names,
        multi_label=config.multi_label,
    )  # fmt: skip

    def read(path: str | Path) -> Listing:
        return read_listing(path, format=config.format, root=config.root, options=options)

    listing = read(source)
    for split, path in (("val", config.val_path), ("test", config.test_path)):
        if path is not None:
            more = read(path)
            if more.format != listing.format:
                kinds = f"is a list of format {more.format}, but {listing.source} one of {listing.format}"
                raise AnnotationError(path, f"{kinds}; use lists of one format")
            if more.class_names != listing.class_names and not (listing.numbered and more.numbered):
                reason = f"has other class names than {listing.source}; give all of them with data.labels FILE"
                raise AnnotationError(path, reason)
            rows = [r._replace(split=r.split or "train") for r in listing.rows]
            listing = replace(listing, rows=rows + [r._replace(split=split) for r in more.rows], absent=None)
    if names is not None:
        listing = replace(listing, class_names=names)
    elif listing.numbered:  # of all lists together
        listing = replace(listing, class_names=numbers_as_names(listing.rows))
    return replace(listing, rows=merged(listing.rows), absent=None) if config.multi_label else listing


def _present(listing: Listing, config: DataConfig) -> Listing:
    """Return the listing with or without the clips that have no file, as `config.missing` says, and a note on them."""
    rows = listing.rows
    missing = absent(rows) if listing.absent is None else listing.absent
    if not missing:
        return listing
    first = rows[missing[0]]
    hint = spelling_hint(rows, missing)
    if len(missing) == len(rows):
        advice = hint or "set the folder of its paths with data.root"
        reason = f"none of its clips exist, for example {first.path}; {advice}"
        raise AnnotationError(first.file or config.path, reason, first.line)
    drop = config.missing == "drop" or (config.missing == "auto" and listing.incomplete)
    what = "left out" if drop else "kept as unreadable (data.missing drop leaves them out)"
    where = f"{first.file}, line {first.line}: " if first.file else ""
    note = f"missing: {len(missing)} of {count(len(rows), 'clip')}, {what}; the first: {where}{first.path}"
    note += f" ({hint})" if hint else ""
    listing = replace(listing, notes=[*listing.notes, note], absent=missing)
    if not drop:
        return listing
    gone = set(missing)
    kept = [row for i, row in enumerate(rows) if i not in gone]
    return replace(listing, rows=kept, absent=[], dropped=[rows[i] for i in missing])


def _named(row: Row, class_names: Sequence[str]) -> Row:
    """Return the row with its numeric label replaced by the name of the class."""
    if row.label is None:
        return row
    largest = max(map(int, row.labels))
    if largest >= len(class_names):
        reason = f"class {largest} does not exist; the network has {len(class_names)} classes, counted from 0"
        raise AnnotationError(row.file, reason, row.line)
    label, *more = (class_names[int(number)] for number in row.labels)
    return row._replace(label=label, more=tuple(more))


def _split(rows: list[Row], config: DataConfig) -> tuple[dict[str, list[Row]], bool]:
    """Return the rows of each split, and true if the splits are random."""
    source = config.path
    named: dict[str, str | None] = {"train": config.train, "val": config.val, "test": config.test}
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    if config.folds:
        if any(named.values()):
            raise ConfigError("data.folds and selections (data.train, val, test) exclude each other; give one of them")
        parts["train"], parts["test"] = _fold(rows, config)
    elif any(named.values()):
        parts |= {split: select(rows, text, source=source) for split, text in named.items() if text}
        if not config.train:  # all rows outside the other selections
            taken = {id(r) for part in parts.values() for r in part}
            parts["train"] = [r for r in rows if id(r) not in taken]
        seen: dict[int, str] = {}
        for split, part in parts.items():
            for row in part:
                if (other := seen.setdefault(id(row), split)) != split:
                    raise ConfigError(f"{source}: {row.path} is selected for both {other} and {split}; keep one")
    elif any(row.split for row in rows):
        for row in rows:
            if not row.split:
                raise AnnotationError(row.file or source, "this line has no split, but others do; add one", row.line)
            parts[row.split].append(row)
    else:
        parts["train"] = list(rows)
    share = config.val_share
    if share is None:
        share = 0.0 if parts["val"] or parts["test"] else 0.2
    drawn = bool(config.folds)
    if share and not parts["val"]:
        parts["train"], parts["val"] = _hold_out(parts["train"], share, config)
        drawn = True
    return parts, drawn


def _groups(rows: list[Row], config: DataConfig) -> list[str] | None:
    if config.group is None:
        return None
    if config.group == "path":  # segments of one recording stay together
        return [r.path for r in rows]
    if config.group not in rows[0].columns:
        columns = ", ".join(("path", *rows[0].fields()))
        raise ConfigError(f"{config.path}: no column {config.group!r} for data.group; choose from {columns}")
    return [r.columns[config.group] for r in rows]


def _strata(rows: list[Row]) -> list[str]:
    """Return by clip what parts are stratified by: its label, of several the rarest, which is then in all parts."""
    counts = Counter(label for row in rows for label in row.labels)
    return [min(row.labels, key=lambda label: (counts[label], label), default="") for row in rows]


def _fold(rows: list[Row], config: DataConfig) -> tuple[list[Row], list[Row]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if config.folds < 2:
        raise ConfigError(f"data.folds is {config.folds}; it must be at least 2")
    if not 0 <= config.test_fold < config.folds:
        raise ConfigError(f"data.test_fold is {config.test_fold}; it must be 0 to {config.folds - 1}")
    labels, groups = np.array(_strata(rows)), _groups(rows, config)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(config.folds, shuffle=True, random_state=config.seed)
    count, unit = (len(rows), "clips") if groups is None else (len(set(groups)), f"values of {config.group}")
    if count < config.folds:
        raise ConfigError(f"{config.path}: {count} {unit} cannot be split into {config.folds} folds; use fewer folds")
    try:
        with warnings.catch_warnings():  # a class with fewer clips than folds is missing from some, which is allowed
            warnings.simplefilter("ignore", UserWarning)
            train, test = list(folds.split(labels, labels, groups))[config.test_fold]
    except ValueError as error:
        raise ConfigError(f"{config.path}: cannot be split into {config.folds} folds: {error}") from error
    if not len(test):
        raise ConfigError(f"{config.path}: fold {config.test_fold} of {config.folds} is empty; use fewer folds")
    return [rows[i] for i in train], [rows[i] for i in test]


def _hold_out(rows: list[Row], share: float, config: DataConfig) -> tuple[list[Row], list[Row]]:
    """Hold out about `share` of each class, at least one clip of two or more, or whole groups; return both parts."""
    if not 0 < share <= 0.5:
        raise ConfigError(f"data.val_share is {share}; it must be 0 to 0.5")
    if config.group is not None:
        folds = max(2, min(round(1 / share), len(set(_groups(rows, config) or ()))))
        return _fold(rows, DataConfig(path=config.path, folds=folds, group=config.group, seed=config.seed))
    rng = np.random.default_rng(config.seed)
    by_label: dict[str, list[int]] = {}
    for i, label in enumerate(_strata(rows)):
        by_label.setdefault(label, []).append(i)
    held: set[int] = set()
    for members in by_label.values():
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held.update(rng.permutation(members)[:count].tolist())
    return [r for i, r in enumerate(rows) if i not in held], [r for i, r in enumerate(rows) if i in held]
