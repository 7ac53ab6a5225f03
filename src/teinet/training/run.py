"""A training run from its recipe: data, network, loop, and a folder that holds all that came of it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from teinet.data.dataset import EpochSampler, TrainingClips
from teinet.data.mirror import mirrored_labels
from teinet.data.sampling import Sampling
from teinet.data.splits import Splits, load_splits
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.errors import ConfigError, Interrupted
from teinet.evaluation.evaluate import ViewClips
from teinet.evaluation.hardware import Hardware, ending_together, quiet
from teinet.models.checkpoint import LAST, load_matching, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.cost import multiply_adds
from teinet.models.factory import create_model
from teinet.training.batchnorm import RecomputeBatchNorm
from teinet.training.curves import CURVES, CurvesPicture
from teinet.training.folder import FOLDER_VARIABLE, close_facts, is_finished, make_folder, refuse_folder, write_facts
from teinet.training.loaders import TrainingData
from teinet.training.module import TrainingModule
from teinet.training.progress import TrainingProgress
from teinet.training.recipe import Recipe
from teinet.training.state import STATE, EpochLog, RunState
from teinet.training.waiting import WaitingAdvice

log = logging.getLogger("teinet")

UNREADABLE = "unreadable.csv"


@quiet()
def train(
    recipe: Recipe,
    *,
    resume: Path | None = None,
    console: Console | None = None,
    callbacks: list[Callback] | None = None,
    title: str = "",
) -> Path:
    """Train by a recipe, or go on with the run in folder `resume`; returns the run's folder.

    Raises:
        TeinetError: a setting, list, video or weights file that does not fit, a loss that is not a number, Ctrl-C.
    """
    console = console or Console()
    recipe = recipe.with_absolute_paths()  # the run can then be tested and resumed from any folder
    if resume is None:
        refuse_folder(recipe)  # now, and not after minutes of reading
    parts = prepare(recipe, finished=lambda splits: bool(resume) and is_finished(resume, splits))
    if parts is None:
        console.print(
            f"{resume} is finished: all its {recipe.optim.epochs} epochs are done.", highlight=False, soft_wrap=True
        )
        return resume
    splits, model, hardware = parts.splits, parts.model, parts.hardware
    folder = resume or make_folder(recipe)  # nothing is left behind by a recipe that does not fit
    write_facts(folder, recipe, splits, precision=hardware.precision)
    data, module = parts.data, parts.module(folder / UNREADABLE)

    def save(path: Path, scores: dict) -> None:
        save_weights(path, model, parts.header(scores))

    epoch_log = EpochLog(folder)
    state = RunState(
        folder, every_steps=recipe.run.save_every_steps, every_minutes=recipe.run.save_every_minutes, save_weights=save
    )
    progress = TrainingProgress(console, epoch_log, title=title)
    waiting = WaitingAdvice(console, epoch_log, recipe=recipe, clips=splits["train"], workers=data.workers)
    extra = [RecomputeBatchNorm(recipe.optim.recompute_bn)] if recipe.optim.recompute_bn else []
    trainer = L.Trainer(
        **hardware.trainer_arguments(),
        max_epochs=recipe.optim.epochs,
        accumulate_grad_batches=recipe.optim.accumulate,
        gradient_clip_val=recipe.optim.clip_grad_norm or None,
        check_val_every_n_epoch=recipe.run.validate_every,
        num_sanity_val_steps=0,
        logger=TensorBoardLogger(folder, name="tensorboard", version=""),
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*extra, epoch_log, progress, waiting, CurvesPicture(folder), *(callbacks or []), state],
    )
    if trainer.is_global_zero:
        _announce(console, parts, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.run.threads or threads)
    try:
        with ending_together(trainer), data.watch.guard(lambda: _how_to_go_on(folder)):
            trainer.fit(module, datamodule=data, ckpt_path=folder / STATE if resume else None, weights_only=True)
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        if not state.asked:
            raise
        raise Interrupted(f"stopped at once. {_how_to_go_on(folder)}") from None
    finally:
        torch.set_num_threads(threads)
        os.environ.pop(FOLDER_VARIABLE, None)  # another run of this process makes its own folder
    if trainer.is_global_zero:
        unreadable = len(module.all_unreadable())
        close_facts(folder, unreadable=unreadable)
        if unreadable:
            console.print(
                f"{unreadable} of {len(splits['train'])} training clips could not be read and were skipped: "
                f"{folder / UNREADABLE}",
                highlight=False,
                soft_wrap=True,
            )
    return folder


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
            "recipe": asdict(self.recipe),
            "scores": scores,
            "licence": self.recipe.run.licence,
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
    try:
        mirrored_labels(splits["train"].class_names)
    except ConfigError as error:
        splits.source.notes.append(f"not mirrored: {error}")
        return False
    return True


def precision(recipe: Recipe) -> str:
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
        **config.temporal_options(),
    )
    _refuse_size(model, recipe.clip.size)
    if config.weights:
        load_matching(model, config.weights, class_names=class_names)
    fresh_gate = config.gate != "residual" and not config.weights and config.name.startswith(("mem_", "teinet_"))
    if recipe.optim.freeze_bn != "none" and fresh_gate:
        log.warning(
            "a fresh MEM halves its input, so frozen batch norms see what they never saw; "
            "expect poor results with optim.freeze_bn, or set model.gate residual"
        )
    return model


def _refuse_size(model: VideoClassifier, size: int) -> None:
    """ConfigError where the backbone cannot take pictures of this size; found out on shapes alone."""
    try:
        multiply_adds(model, size)
    except (RuntimeError, AssertionError, ValueError) as error:
        name = (model.config or {}).get("name", "this network")
        raise ConfigError(
            f"{name} cannot take pictures of {size} pixels ({str(error).splitlines()[0]}); take another clip.size, "
            "such as 224"
        ) from None


def build_preprocessing(recipe: Recipe, model: VideoClassifier) -> Preprocessing:
    """Picture size from the recipe; mean, deviation and interpolation from what the backbone was trained with."""
    pixels = model.data_config
    return Preprocessing(
        size=recipe.clip.size,
        short_side=recipe.clip.effective_short_side,
        interpolation=pixels["interpolation"],
        mean=pixels["mean"],
        std=pixels["std"],
    )


def _how_to_go_on(folder: Path) -> str:
    if (folder / STATE).is_file():
        return f"The run's last state is kept; go on with: teinet train --resume {folder}"
    return f"No state of the run was saved yet: remove {folder}, and start it anew."


def _announce(console: Console, parts: Parts, folder: Path) -> None:
    recipe, splits = parts.recipe, parts.splits
    counts = ", ".join(f"{len(clips)} {split}" for split, clips in splits.items())
    config = recipe.optim
    lines = [
        f"[bold]{recipe.model.name}[/bold]  {recipe.model.num_frames} frames of {recipe.clip.size} px, "
        f"{len(splits['train'].class_names)} classes",
        f"clips          {counts}; format {splits.source.format}",
        f"learning rate  {rate_in_words(recipe)}",
        f"schedule       {config.schedule}, {config.epochs} epochs; {precision(recipe)}, {parts.data.workers} workers",
        f"folder         {folder}  ({LAST}, log.csv, {CURVES}, tensorboard/)",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    for note in splits.source.notes:
        console.print(f"note           {note}", highlight=False, soft_wrap=True, markup=False)


def rate_in_words(recipe: Recipe) -> str:
    """The learning rate that the run truly uses, and why."""
    config, devices = recipe.optim, recipe.run.devices
    batch = config.batch_size * devices * config.accumulate
    rate = config.learning_rate(devices)
    if config.scale_lr:
        return f"{rate:.4g} ({config.lr:g} per 64 clips, global batch {batch})"
    return f"{rate:.4g} (not scaled), global batch {batch}"
