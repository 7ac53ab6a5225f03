"""The section `data` of a recipe: a list of clips and its splits. Imports nothing else, so that a help text has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

READ_TIMEOUT = 120.0  # seconds that reading one clip may take


@dataclass(kw_only=True)
class DataConfig:
    """The clips, and how they are split.

    Args:
        path: a folder of class folders (optionally inside train/, val/, test/), a data set's own folder, or a list of
            clips: a csv with columns path and label, or another project's.
        format: which kind of list it is; auto finds out.
        root: the folder that the list's paths start from; by default the usual places next to the list.
        val_path: a list of validation clips, where each list is a file of its own; those of `path` then train.
        test_path: a list of test clips, likewise.
        labels: a file of class names in the order of their numbers, one a line.
        official_split: which of a data set's official splits into training and test (UCF101, HMDB51: 1 to 3).
        image_names: how the images of a clip are named, such as img_{:05d}.jpg; by default all numbered ones.
        missing: clips of the list that are not there: keep (they are unreadable: skipped in training, wrong in a test)
            or drop (left out, and counted); auto drops those of data sets of which no copy is complete (Kinetics).
        train: rows that train, by a column's values: `subject=1,3,5`; several conditions, joined by `;`, must all hold.
            By default those that neither val nor test takes.
        val: rows that validate, written likewise.
        test: rows that no training sees, written likewise.
        folds: divide into this many folds (each with its share of every class); `test_fold` is tested, the rest train.
        test_fold: which fold is tested, 0 to folds - 1.
        group: a column whose values are never divided between folds, such as source_video or subject; path keeps the
            segments of a recording together.
        val_share: share of the training clips held out for validation, 0 to 0.5; where `group` is set, whole groups,
            and the nearest 1/k. By default 0.2 where neither val nor test clips are named, otherwise 0.
        classes: class names in the order of their indices; by default the labels found, sorted.
        seed: starts the random numbers that divide into folds and hold out `val_share`.
    """

    path: str | None = None
    format: str = "auto"
    root: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    labels: str | None = None
    official_split: int = 1
    image_names: str | None = None
    missing: Literal["auto", "keep", "drop"] = "auto"
    train: str | None = None
    val: str | None = None
    test: str | None = None
    folds: int = 0
    test_fold: int = 0
    group: str | None = None
    val_share: float | None = None
    classes: list[str] | None = None
    seed: int = 0
