"""Datasets of your own, of clips and labels, in place of a list of files."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng

from teinet.data.dataset import Draw, TrainingClips, Unreadable
from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import ClipList, PackedTexts
from teinet.data.lists.splits import Splits
from teinet.data.video.flow import CHANNELS
from teinet.errors import ConfigError, VideoError
from teinet.evaluation.evaluate import ClipScore, ViewClips
from teinet.training.recipe import Recipe


class DatasetClips(TrainingClips):
    """Maps a `Draw` to a clip of `dataset`, its label and its index; random numbers are seeded by the draw.

    A clip for which `dataset` raises a `VideoError` is an `Unreadable`.
    """

    def __init__(self, dataset: Any, clips: ClipList):
        self.dataset, self.clips = dataset, clips

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int, int] | Unreadable:
        with isolate_rng(include_cuda=False):
            random.seed(draw.seed)
            np.random.seed(draw.seed % 2**32)
            torch.manual_seed(draw.seed)
            try:
                clip, label = self.dataset[draw.index][:2]
            except VideoError as error:
                return Unreadable(draw.index, error.path, error.reason)
        return clip, int(label), draw.index


class DatasetViews(ViewClips):
    """Maps an index to the one view (1,T,3,H,W) that `dataset` has of a clip; see `evaluate.ViewClips`."""

    def __init__(self, dataset: Any, clips: ClipList):
        self.dataset, self.clips = dataset, clips

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor, str] | ClipScore:
        try:
            return index, self.dataset[index][0][None], ""
        except VideoError as error:
            return ClipScore(index, None, error.reason)


def splits_of(datasets: Mapping[str, Any], recipe: Recipe) -> Splits:
    """Return the splits of datasets, or of lists of clips.

    Args:
        datasets: by split (train, val), torch Datasets or `ClipList`s. A Dataset's item is a tuple that begins with a
            clip (T, 3, H, W), uint8 or normalized float, as the network is to see it, and its label, an int from 0.
            Class names are `data.classes`, or the training set's attribute `classes`, as torchvision's have it. Labels
            are its attribute `targets`; those of a validation set without one are read once.

    Raises:
        ConfigError: an unknown split, no training set, no class names, a first item of another form, or clips of one
            label with `data.multi_label`, or of several without it.
    """
    if "train" not in datasets or not set(datasets) <= {"train", "val"}:
        raise ConfigError(f"data holds {', '.join(map(str, datasets))}; it must be {{'train': ..., 'val': ...}}")
    train = datasets["train"]
    own = train.class_names if isinstance(train, ClipList) else getattr(train, "classes", None)
    names = list(recipe.data.classes or own or ())
    if not names:
        raise ConfigError("a Dataset's classes need names: set data.classes, or give it an attribute `classes`")
    splits = Splits({split: _listed(dataset, split, names, recipe) for split, dataset in datasets.items()})
    if any((clips.label_sets is not None) != recipe.data.multi_label for clips in splits.values()):
        raise ConfigError(
            f"data.multi_label is {str(recipe.data.multi_label).lower()}; with it all splits are ClipLists with "
            "label_sets, without it none is"
        )
    splits.source = Listing(format="dataset", source=Path(type(train).__name__), rows=[])
    return splits


def _listed(dataset: Any, split: str, names: list[str], recipe: Recipe) -> ClipList:
    if isinstance(dataset, ClipList):
        if dataset.class_names != names:
            raise ConfigError(f"the {split} clips have other classes than the training set: {dataset.class_names}")
        return dataset
    _check_item(dataset[0], split, names, recipe)
    labels = getattr(dataset, "targets", None)
    if labels is None:
        labels = [dataset[i][1] for i in range(len(dataset))] if split == "val" else np.full(len(dataset), -1)
    empty = np.full(len(dataset), np.nan)
    return ClipList(
        paths=PackedTexts(f"{split} item {i}" for i in range(len(dataset))),
        labels=np.array([int(label) for label in labels], dtype=np.int64),
        class_names=names,
        starts=empty,
        ends=empty,
        source=f"{split} dataset",
    )


def _check_item(item: Any, split: str, names: Sequence[str], recipe: Recipe) -> None:
    channels = CHANNELS if recipe.model.modality == "flow" else 3
    want = (recipe.model.num_frames, channels, *recipe.clip.shape)
    said = f"item 0 of the {split} dataset"
    if not isinstance(item, (tuple, list)) or len(item) < 2 or not isinstance(item[0], torch.Tensor):
        raise ConfigError(f"{said} is a {type(item).__name__}; it must be a tuple (clip, label), the clip a tensor")
    clip, label = item[:2]
    if tuple(clip.shape) != want or not (clip.dtype == torch.uint8 or clip.is_floating_point()):
        raise ConfigError(
            f"{said}: its clip is {clip.dtype} {tuple(clip.shape)}; it must be uint8 (or normalized float) {want}: "
            f"model.num_frames, {'x and y of five flow fields' if channels == CHANNELS else 'RGB'}, clip.size"
        )
    if not 0 <= int(label) < len(names):
        raise ConfigError(f"{said}: its label is {label}; {len(names)} classes have labels 0 to {len(names) - 1}")
