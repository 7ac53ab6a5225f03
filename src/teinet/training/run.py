"""A training run from its recipe: data, network, loop, and a folder that holds all that came of it."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from teinet.data.clips import ClipList
from teinet.data.dataset import EpochSampler, TrainingClips
from teinet.data.sampling import Sampling
from teinet.data.splits import load_splits
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.evaluate import ViewClips
from teinet.evaluation.hardware import Hardware, quiet
from teinet.models.checkpoint import LAST, load_matching, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.training.batchnorm import RecomputeBatchNorm
from teinet.training.folder import FOLDER_VARIABLE, close_facts, is_finished, make_folder, write_facts
from teinet.training.loaders import TrainingData
from teinet.training.module import TrainingModule
from teinet.training.progress import TrainingProgress
from teinet.training.recipe import Recipe
from teinet.training.state import STATE, EpochLog, RunState

log = logging.getLogger("teinet")


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
    recipe.check()
    splits = load_splits(recipe.data)
    if "train" not in splits:
        raise ConfigError("no clip is left for training")
    hardware = Hardware(accelerator=recipe.run.accelerator, devices=recipe.run.devices, precision=precision(recipe))
    if resume and is_finished(resume, splits):
        console.print(
            f"{resume} is finished: all its {recipe.optim.epochs} epochs are done.", highlight=False, soft_wrap=True
        )
        return resume
    L.seed_everything(recipe.run.seed, verbose=False)
    model = build_model(recipe, splits["train"].class_names)
    sampling = Sampling(num_frames=recipe.model.num_frames, strategy=recipe.clip.strategy, window=recipe.clip.window)
    preprocessing = build_preprocessing(recipe, model)
    augmentation = Augmentation(crop=recipe.clip.crop, scales=tuple(recipe.clip.scales), mirror=recipe.clip.mirror)
    train_clips = TrainingClips(splits["train"], sampling, preprocessing, augmentation)
    val_clips = ViewClips(splits["val"], sampling, preprocessing, Views()) if "val" in splits else None
    folder = resume or make_folder(recipe)  # nothing is left behind by a recipe that does not fit
    write_facts(folder, recipe, splits, precision=hardware.precision)
    data = TrainingData(train_clips, val_clips, recipe)
    batches = -(-len(EpochSampler(len(train_clips), seed=0, world_size=recipe.run.devices)) // recipe.optim.batch_size)
    module = TrainingModule(
        model,
        recipe,
        steps_per_epoch=-(-batches // recipe.optim.accumulate),
        train_clips=splits["train"],
        val_clips=splits.get("val"),
        unreadable_csv=folder / "unreadable.csv",
    )

    def save(path: Path, scores: dict) -> None:
        save_weights(path, model, _header(recipe, splits["train"].class_names, preprocessing, sampling, scores))

    epoch_log = EpochLog(folder)
    state = RunState(
        folder, every_steps=recipe.run.save_every_steps, every_minutes=recipe.run.save_every_minutes, save_weights=save
    )
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
        callbacks=[*extra, epoch_log, TrainingProgress(console, epoch_log, title=title), *(callbacks or []), state],
    )
    if trainer.is_global_zero:
        _announce(console, recipe, splits, folder, data.workers)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.run.threads or threads)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=folder / STATE if resume else None, weights_only=True)
    finally:
        torch.set_num_threads(threads)
        os.environ.pop(FOLDER_VARIABLE, None)  # another run of this process makes its own folder
    if trainer.is_global_zero:
        close_facts(folder, unreadable=len(module.unreadable))
    return folder


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
    if config.weights:
        load_matching(model, config.weights, class_names=class_names)
    fresh_gate = config.gate != "residual" and not config.weights and config.name.startswith(("mem_", "teinet_"))
    if recipe.optim.freeze_bn != "none" and fresh_gate:
        log.warning(
            "a fresh MEM halves its input, so frozen batch norms see what they never saw; "
            "expect poor results with optim.freeze_bn, or set model.gate residual"
        )
    return model


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


def _header(
    recipe: Recipe, class_names: list[str], preprocessing: Preprocessing, sampling: Sampling, scores: dict
) -> dict[str, Any]:
    return {
        "class_names": class_names,
        "preprocessing": preprocessing.to_dict(),
        "sampling": asdict(sampling),
        "recipe": asdict(recipe),
        "scores": scores,
        "licence": recipe.run.licence,
    }


def _announce(console: Console, recipe: Recipe, splits: dict[str, ClipList], folder: Path, workers: int) -> None:
    counts = ", ".join(f"{len(clips)} {split}" for split, clips in splits.items())
    config, devices = recipe.optim, recipe.run.devices
    batch = config.batch_size * devices * config.accumulate
    lines = [
        f"[bold]{recipe.model.name}[/bold]  {recipe.model.num_frames} frames of {recipe.clip.size} px, "
        f"{len(splits['train'].class_names)} classes",
        f"clips          {counts}",
        f"learning rate  {config.learning_rate(devices):.4g} ({config.lr:g} per 64 clips, global batch {batch})"
        if config.scale_lr
        else f"learning rate  {config.lr:.4g} (not scaled), global batch {batch}",
        f"schedule       {config.schedule}, {config.epochs} epochs; {precision(recipe)}, {workers} workers",
        f"folder         {folder}  ({LAST}, log.csv, tensorboard/)",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
