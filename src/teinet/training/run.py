"""A training run from its recipe: data, network, loop, and a folder that holds all that came of it."""

from __future__ import annotations

import logging
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import lightning as L
import timm
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torchdata.stateful_dataloader import StatefulDataLoader

from teinet import __version__
from teinet.data.clips import ClipList
from teinet.data.dataset import EpochSampler, TrainingClips, collate
from teinet.data.sampling import Sampling
from teinet.data.splits import load_splits
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.evaluate import Hardware, ViewClips, evaluation_loader, prepare_worker, quiet
from teinet.models.checkpoint import LAST, load_matching, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.training.batchnorm import RecomputeBatchNorm
from teinet.training.module import TrainingModule
from teinet.training.progress import TrainingProgress
from teinet.training.recipe import Recipe
from teinet.training.state import STATE, EpochLog, RunState, read_json, write_json

log = logging.getLogger("teinet")

RECIPE = "recipe.yaml"
FACTS = "run.json"
_FOLDER_VARIABLE = "TEINET_RUN_FOLDER"  # tells the other processes of a run where the first one put it


class TrainingData(L.LightningDataModule):
    """The loaders of a run: training clips in an order set by seed and epoch, validation clips once each."""

    def __init__(self, train: TrainingClips, val: ViewClips | None, recipe: Recipe):
        super().__init__()
        self.train, self.val, self.recipe = train, val, recipe
        self.workers = number_of_workers(recipe)

    def train_dataloader(self) -> StatefulDataLoader:
        sampler = EpochSampler(
            len(self.train),
            seed=self.recipe.run.seed,
            epoch=self.trainer.current_epoch,  # a resumed run starts inside an epoch, before anyone calls set_epoch
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self.loader(sampler)

    def loader(self, sampler: EpochSampler) -> StatefulDataLoader:
        """Batches of the clips that `sampler` draws; remembers how many were taken."""
        return StatefulDataLoader(
            self.train,
            batch_size=self.recipe.optim.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=prepare_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> Any:
        if self.val is None:
            return []
        return evaluation_loader(
            self.val,
            batch_size=self.recipe.optim.batch_size,
            workers=self.workers,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )


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
    recipe.check()
    quiet()
    splits = load_splits(recipe.data)
    if "train" not in splits:
        raise ConfigError("no clip is left for training")
    hardware = Hardware(accelerator=recipe.run.accelerator, devices=recipe.run.devices, precision=precision(recipe))
    if resume and _finished(resume, splits):
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
    _write_facts(folder, recipe, splits)
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
    try:
        trainer.fit(module, datamodule=data, ckpt_path=folder / STATE if resume else None, weights_only=True)
    finally:
        os.environ.pop(_FOLDER_VARIABLE, None)  # another run of this process makes its own folder
    if trainer.is_global_zero:
        facts = read_json(folder / FACTS)
        write_json(folder / FACTS, {**facts, "finished": _now(), "unreadable": len(module.unreadable)})
    return folder


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
        load_matching(model, config.weights)
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


def make_folder(recipe: Recipe) -> Path:
    """A new folder for the run; the other processes of the same run are told its name."""
    if told := os.environ.get(_FOLDER_VARIABLE):
        return Path(told)
    root = Path(recipe.run.output)
    if recipe.run.name:
        folder = root / recipe.run.name
        if (folder / STATE).exists():
            raise ConfigError(
                f"{folder} holds a run already; go on with it by `teinet train --resume {folder}`, "
                "or take another run.name"
            )
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} holds files, but no run to go on with; remove the folder, or take another run.name"
            )
    else:
        number = 1
        while (folder := root / f"{recipe.model.name}-{number}").exists():
            number += 1
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.run.devices > 1:
        os.environ[_FOLDER_VARIABLE] = str(folder)
    return folder


def number_of_workers(recipe: Recipe) -> int:
    """Decoding processes: those set, or one per core up to 8, divided among the devices."""
    if recipe.run.workers is not None:
        return recipe.run.workers
    return max(1, min(8, (os.cpu_count() or 1) // recipe.run.devices))


def precision(recipe: Recipe) -> str:
    """Lightning's name of the precision: 16-bit mixed on a GPU (bfloat16 where it has it), else 32."""
    if recipe.run.precision != "auto":
        return recipe.run.precision
    if recipe.run.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def _header(
    recipe: Recipe, class_names: list[str], preprocessing: Preprocessing, sampling: Sampling, scores: dict
) -> dict[str, Any]:
    return {
        "class_names": class_names,
        "preprocessing": preprocessing.to_dict(),
        "sampling": asdict(sampling),
        "recipe": asdict(recipe),
        "scores": scores,
    }


def _write_facts(folder: Path, recipe: Recipe, splits: dict[str, ClipList]) -> None:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    began = {"command": sys.argv, "started": _now()}
    if (folder / FACTS).exists():
        facts = read_json(folder / FACTS)
        write_json(folder / FACTS, {**facts, "resumed": [*facts.get("resumed", []), began]})
        return
    (folder / RECIPE).write_text(yaml.safe_dump(asdict(recipe), sort_keys=False))
    facts = {
        **began,
        "seed": recipe.run.seed,
        "learning_rate": recipe.optim.learning_rate(recipe.run.devices),
        "precision": precision(recipe),
        "data": {split: clips.fingerprint() for split, clips in splits.items()},
        "decoder": {"PyAV": av.__version__, **{k: ".".join(map(str, v)) for k, v in av.library_versions.items()}},
        "versions": {
            "teinet": __version__,
            "torch": torch.__version__,
            "timm": timm.__version__,
            "lightning": L.__version__,
            "python": platform.python_version(),
        },
    }
    write_json(folder / FACTS, facts)


def _finished(folder: Path, splits: dict[str, ClipList]) -> bool:
    """Whether a run was trained to its end; refuses to go on with one whose clips have changed meanwhile."""
    facts = read_json(folder / FACTS) if (folder / FACTS).exists() else {}
    for split, clips in splits.items():
        then, now = facts.get("data", {}).get(split), clips.fingerprint()
        if split in ("train", "val") and then and then != now:
            raise ConfigError(
                f"the {split} clips are not those that {folder} began with ({then['clips']} then, {now['clips']} now, "
                "or other names); bring them back, or start a new run (--model.weights takes this one's weights along)"
            )
    return "finished" in facts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
