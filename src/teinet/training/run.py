"""A training run from its recipe: data, network, loop, and a folder that holds all that came of it."""

from __future__ import annotations

import os
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from teinet.errors import Interrupted
from teinet.evaluation.hardware import ending_together, quiet
from teinet.models.checkpoint import save_weights
from teinet.models.header import LAST
from teinet.training.batchnorm import RecomputeBatchNorm
from teinet.training.curves import CURVES, CurvesPicture
from teinet.training.folder import (
    FOLDER_VARIABLE,
    alone_in,
    close_facts,
    is_finished,
    make_folder,
    refuse_folder,
    write_facts,
)
from teinet.training.parts import Parts, precision, prepare
from teinet.training.progress import TrainingProgress
from teinet.training.recipe import Recipe
from teinet.training.state import STATE, EpochLog, RunState
from teinet.training.waiting import WaitingAdvice
from teinet.utils.signals import StopSignal

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
    folder = resume or make_folder(recipe)  # nothing is left behind by a recipe that does not fit
    with alone_in(folder):
        _fit(parts, folder, going_on=bool(resume), console=console, callbacks=callbacks or [], title=title)
    return folder


def _fit(
    parts: Parts, folder: Path, *, going_on: bool, console: Console, callbacks: list[Callback], title: str
) -> None:
    """Train into a folder that is this run's alone."""
    recipe, splits, model, hardware = parts.recipe, parts.splits, parts.model, parts.hardware
    write_facts(folder, recipe, splits, precision=hardware.precision)
    data, module = parts.data, parts.module(folder / UNREADABLE)

    def save(path: Path, scores: dict) -> None:
        save_weights(path, model, parts.header(scores))

    epoch_log = EpochLog(folder)
    stop = StopSignal()
    state = RunState(
        folder,
        stop=stop,
        every_steps=recipe.run.save_every_steps,
        every_minutes=recipe.run.save_every_minutes,
        save_weights=save,
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
        callbacks=[*extra, epoch_log, progress, waiting, CurvesPicture(folder), *callbacks, state],
    )
    if trainer.is_global_zero:
        _announce(console, parts, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.run.threads or threads)
    try:
        with ending_together(trainer), data.watch.guard(lambda: _how_to_go_on(folder)):
            stop.take()
            trainer.fit(module, datamodule=data, ckpt_path=folder / STATE if going_on else None, weights_only=True)
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        if not stop.is_set():
            raise
        raise Interrupted(f"stopped at once. {_how_to_go_on(folder)}") from None
    finally:
        stop.release()
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


def _how_to_go_on(folder: Path) -> str:
    if (folder / STATE).is_file():
        return f"The run's last state is kept; go on with: teinet train --resume {folder}"
    return f"No state of the run was saved yet: remove {folder}, and start it anew."


def _announce(console: Console, parts: Parts, folder: Path) -> None:
    recipe, splits = parts.recipe, parts.splits
    counts = ", ".join(f"{len(clips)} {split}" for split, clips in splits.items())
    config = recipe.optim
    up_to = config.freeze_stages
    stages = f"the stem{f' and the stages up to res{up_to}' if up_to > 1 else ''}" if up_to else ""
    kept = "all but the temporal modules and the last layer" if config.freeze_backbone else stages
    frozen = [f"frozen         {kept}"] if kept else []
    lines = [
        f"[bold]{recipe.model.name}[/bold]  {recipe.model.num_frames} frames of {recipe.clip.pixels} px, "
        f"{len(splits['train'].class_names)} classes",
        f"clips          {counts}; format {splits.source.format}",
        f"learning rate  {rate_in_words(recipe)}",
        f"schedule       {config.schedule}, {config.epochs} epochs; {precision(recipe)}, {parts.data.workers} workers",
        *frozen,
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
