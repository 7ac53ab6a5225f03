"""What a run is made of, before it begins: clips, network and loaders, from its recipe. Nothing is written."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from teinet.data.dataset import EpochSampler, TrainingClips
from teinet.data.lists.labels import mirrored_labels
from teinet.data.lists.splits import Splits, load_splits
from teinet.data.sampling import Sampling, typical_spacing
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.errors import ConfigError, nearest
from teinet.evaluation.evaluate import ViewClips
from teinet.evaluation.hardware import Hardware, Precision
from teinet.models.checkpoint import load_matching
from teinet.models.classifier import VideoClassifier
from teinet.models.cost import multiply_adds
from teinet.models.factory import create_model
from teinet.training.loaders import TrainingData
from teinet.training.module import TrainingModule
from teinet.training.recipe import Recipe
from teinet.training.recipe_files import departures

log = logging.getLogger("teinet")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is made of, before it begins."""

    recipe: Recipe
    splits: Splits
    hardware: Hardware
    model: VideoClassifier
    data: TrainingData
    sampling: Sampling
    preprocessing: Preprocessing
    mirror: bool
    spacing: float | None

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        config, devices = self.recipe.optim, self.recipe.run.devices
        clips = len(EpochSampler(len(self.data.train), seed=0, world_size=devices))
        return math.ceil(math.ceil(clips / config.batch_size) / config.accumulate)

    def module(self, unreadable_csv: Path) -> TrainingModule:
        """The training module; clips that cannot be read are listed in `unreadable_csv`."""
        return TrainingModule(
            self.model,
            self.recipe,
            steps_per_epoch=self.steps_per_epoch,
            train_clips=self.splits["train"],
            val_clips=self.splits.get("val"),
            unreadable_csv=unreadable_csv,
        )

    def header(self, scores: dict) -> dict[str, Any]:
        """What the weights file says beside the weights."""
        return {
            "class_names": self.splits["train"].class_names,
            "preprocessing": self.preprocessing.to_dict(),
            "sampling": asdict(self.sampling),
            "spacing": self.spacing,
            "recipe": asdict(self.recipe),
            "scores": scores,
            "licence": self.recipe.run.licence,
            "nothing": self.recipe.run.nothing,
            "departs": departures(asdict(self.recipe), asdict(Recipe())),
            "data": {split: clips.fingerprint() for split, clips in self.splits.items()},
        }


def prepare(recipe: Recipe, *, finished: Callable[[Splits], bool] = lambda splits: False) -> Parts | None:
    """Read the clips and build the network; nothing is written. None where `finished` says so of the clips.

    Raises:
        TeinetError: a setting, list or weights file that does not fit.
    """
    recipe.check()
    splits = load_splits(recipe.data)
    if "train" not in splits:
        raise ConfigError("no clip is left for training")
    hardware = Hardware(accelerator=recipe.run.accelerator, devices=recipe.run.devices, precision=precision(recipe))
    if finished(splits):
        return None
    for label in recipe.run.nothing:
        if label not in (names := splits["train"].class_names):
            raise ConfigError(f"run.nothing: there is no class {label!r}.{nearest(label, names)}")
    _warn_of_empty_classes(splits)
    mirror = _mirror(recipe, splits)
    L.seed_everything(recipe.run.seed, verbose=False)
    model = build_model(recipe, splits["train"].class_names)
    sampling = Sampling(num_frames=recipe.model.num_frames, strategy=recipe.clip.strategy, window=recipe.clip.window)
    preprocessing = build_preprocessing(recipe, model)
    augmentation = Augmentation(crop=recipe.clip.crop, scales=tuple(recipe.clip.scales), mirror=mirror)
    train_clips = TrainingClips(splits["train"], sampling, preprocessing, augmentation)
    val_clips = ViewClips(splits["val"], sampling, preprocessing, Views()) if "val" in splits else None
    return Parts(
        recipe=recipe,
        splits=splits,
        hardware=hardware,
        model=model,
        data=TrainingData(train_clips, val_clips, recipe),
        sampling=sampling,
        preprocessing=preprocessing,
        mirror=mirror,
        spacing=typical_spacing(splits["train"], sampling),
    )


def _warn_of_empty_classes(splits: Splits) -> None:
    """Say which classes nothing can be learnt of: a folder whose name is misspelt, a class of the test alone."""
    train = splits["train"]
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.class_names))
    empty = [name for name, count in zip(train.class_names, counts) if not count]
    if empty:
        shown = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        log.warning(
            "%s: %d of %d classes have no training clips (%s)", train.source, len(empty), len(train.class_names), shown
        )


def _mirror(recipe: Recipe, splits: Splits) -> bool:
    """Whether clips are mirrored: as the recipe says, or unless the mirror image of a class is no class."""
    if recipe.clip.mirror != "auto":
        return recipe.clip.mirror
    if splits.source.numbered:
        splits.source.notes.append("not mirrored: classes have numbers and no names that would tell a direction")
        return False
    try:
        mirrored_labels(splits["train"].class_names)
    except ConfigError as error:
        splits.source.notes.append(f"not mirrored: {error}")
        return False
    return True


def precision(recipe: Recipe) -> Precision:
    """Lightning's name of the precision: 16-bit mixed on a GPU (bfloat16 where it has it), else 32."""
    if recipe.run.precision != "auto":
        return recipe.run.precision
    if recipe.run.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def build_model(recipe: Recipe, class_names: list[str]) -> VideoClassifier:
    """The network of a recipe, with ImageNet, local or trained weights to start from."""
    config = recipe.model
    model = create_model(
        config.name,
        num_classes=len(class_names),
        num_frames=config.num_frames,
        pretrained=config.pretrained and not (config.backbone_weights or config.weights),
        backbone_weights=config.backbone_weights,
        dropout=config.dropout,
        stages=tuple(config.stages),
        shortcut_only=config.shortcut_only,
        every=config.every,
        causal=config.causal,
        **config.temporal_options(),
    )
    _refuse_size(model, recipe.clip.shape)
    if config.weights:
        load_matching(model, config.weights, class_names=class_names)
    fresh_gate = config.gate != "residual" and not config.weights and config.name.startswith(("mem_", "teinet_"))
    frozen = "freeze_backbone" if recipe.optim.freeze_backbone else "freeze_bn"
    if (recipe.optim.freeze_backbone or recipe.optim.freeze_bn != "none") and fresh_gate:
        log.warning(
            "a fresh MEM halves its input, so frozen batch norms see what they never saw; "
            f"expect poor results with optim.{frozen}, or set model.gate residual"
        )
    return model


def _refuse_size(model: VideoClassifier, size: tuple[int, int]) -> None:
    """ConfigError where the backbone cannot take pictures of this size; found out on shapes alone."""
    try:
        multiply_adds(model, size)
    except (RuntimeError, AssertionError, ValueError) as error:
        name = (model.config or {}).get("name", "this network")
        raise ConfigError(
            f"{name} cannot take pictures of {size[0]}x{size[1]} pixels ({str(error).splitlines()[0]}); take another "
            "clip.size, such as 224"
        ) from None


def build_preprocessing(recipe: Recipe, model: VideoClassifier) -> Preprocessing:
    """Picture size from the recipe; mean, deviation and interpolation from what the backbone was trained with."""
    pixels = model.data_config
    return Preprocessing(
        size=recipe.clip.shape,
        short_side=recipe.clip.effective_short_side,
        fit=recipe.clip.fit,
        interpolation=pixels["interpolation"],
        mean=pixels["mean"],
        std=pixels["std"],
    )
