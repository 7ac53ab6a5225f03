"""The section `data` of a recipe: a list of clips and its splits; without heavy imports, for help texts."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from teinet.errors import AnnotationError, ConfigError, check_numbers
from teinet.utils.addresses import without_secrets

READ_TIMEOUT = 120.0  # seconds that reading one clip may take
MAX_DAMAGED = 0.1  # share of a file's frames that may be lost or damaged
MAX_DAMAGED_HELP = "share of a file's frames that may be lost or damaged; with more it cannot be read"


@dataclass(kw_only=True)
class DataConfig:
    """The clips and their splits.

    Args:
        path: a folder of class folders (optionally inside train/, val/, test/), a data set's own folder, or a list of
            clips: a csv with columns path and label, or another project's list.
        format: format of the list; auto detects it.
        root: the folder that the list's paths are relative to; by default the usual places next to the list.
        val_path: a list of validation clips, if each split has its own file; the clips of `path` are then for training.
        test_path: a list of test clips, likewise.
        labels: a file of class names in the order of their indices, one per line.
        official_split: number of the data set's official split into training and test (UCF101, HMDB51: 1 to 3).
        image_names: pattern of a clip's image names, such as img_{:05d}.jpg; by default all numbered images.
        missing: clips of the list without a file: keep (unreadable: skipped in training, wrong in a test) or drop (left
            out, and counted); auto drops those of data sets that are never complete (Kinetics).
        max_damaged: largest share of a file's frames that may be lost or damaged, 0 to 1; above it the file is
            unreadable.
        train: training rows, by a column's values: `subject=1,3,5`; several conditions, joined by `;`, must all hold.
            By default all rows that are in neither val nor test.
        val: validation rows, likewise.
        test: test rows, likewise.
        folds: split into this many folds, stratified by class; `test_fold` is the test split, the others train.
        test_fold: number of the test fold, 0 to folds - 1.
        multi_label: a clip may have several classes, or none: the label of a csv is then names with a vertical bar
            between them, or empty, that of JSON may be a list; rows of the same clip and span add up. The loss is the
            binary cross entropy of each class.
        group: a column whose values are kept together in one fold, such as source_video or subject; path keeps the
            segments of a recording together.
        val_share: share of the training clips held out for validation, 0 to 0.5; with `group` whole groups, and the
            nearest 1/k, with k at most their number. By default 0.2 if there are neither val nor test clips, otherwise
            0.
        classes: class names in the order of their indices; by default the labels found, sorted.
        seed: seed of the random folds and of the clips held out by `val_share`.
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
    max_damaged: float = MAX_DAMAGED
    train: str | None = None
    val: str | None = None
    test: str | None = None
    folds: int = 0
    test_fold: int = 0
    multi_label: bool = False
    group: str | None = None
    val_share: float | None = None
    classes: list[str] | None = None
    seed: int = 0


def check_path(path: str | PathLike[str] | None) -> Path:
    """Return the path of a folder or list of clips; ConfigError without one, AnnotationError if it does not exist."""
    kinds = "a folder of class folders or a list of clips"
    if path is None:
        raise ConfigError(f"no data given; name {kinds} by --data PATH, in Python data=PATH")
    if not Path(path).exists():
        from teinet.data import remote  # here, as it imports PyAV
        from teinet.data.video.source import refuse_address

        if (address := remote.address_of(path)) is not None:
            try:
                if not remote.is_folder(address):
                    remote.status(address)
            except OSError as error:
                raise AnnotationError(without_secrets(address), str(error.strerror)) from None
            return remote.RemotePath(address)
        refuse_address(path)
        raise AnnotationError(path, f"no such file or folder; give {kinds}")
    return Path(path)


def check_max_damaged(share: float, name: str) -> float:
    """Return a share of damaged frames; ConfigError, which calls it `name`, if it is not one."""
    check_numbers(**{name: share})
    if not 0 <= share <= 1:
        raise ConfigError(f"{name} is {share:g}; it is a share of a file's frames, 0 to 1")
    return share
