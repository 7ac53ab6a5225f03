"""Train by a recipe into a folder and test by its views; once, or for each official split."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from rich.console import Console

from teinet.data.views import Views
from teinet.errors import ConfigError, Interrupted
from teinet.evaluation.evaluate import TestProgress
from teinet.evaluation.hardware import ending_together, quiet
from teinet.evaluation.plan import Plan, Tested, measured
from teinet.evaluation.published import Measured
from teinet.evaluation.scores import Scores
from teinet.evaluation.testing import test
from teinet.models.checkpoint import save_weights
from teinet.models.header import LAST, STATE
from teinet.recognition.recognizer import Recognizer
from teinet.training.callbacks import (
    AverageWeights,
    CurvesPlot,
    EpochLog,
    Patience,
    RecomputeBatchNorm,
    RunState,
    TrainingProgress,
)
from teinet.training.data_wait import WaitingAdvice
from teinet.training.launch import agree, share_folder, together
from teinet.training.module import Loss
from teinet.training.optim import milestones
from teinet.training.recipe import OptimConfig, Recipe
from teinet.training.run_dir import (
    CURVES,
    FOLDER_VARIABLE,
    LOG,
    LOGGERS,
    UNREADABLE,
    alone_in,
    close_facts,
    is_finished,
    is_run_of,
    make_folder,
    read_facts,
    read_log,
    refuse_folder,
    write_facts,
)
from teinet.training.setup import Parts, hardware_of, prepare
from teinet.training.start import measure_start, refuse_seen_probe, weights_to_use
from teinet.training.step_memory import refuse_too_large
from teinet.utils.addresses import without_secrets
from teinet.utils.files import write_text
from teinet.utils.signals import StopSignal
from teinet.utils.text import count


@dataclass(frozen=True, kw_only=True)
class CustomParts:
    """Python objects of a run besides its recipe; see `teinet.train`."""

    datasets: Mapping[str, Any] | None = None
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()
    loss: Loss | None = None


@quiet()
def train(
    recipe: Recipe,
    *,
    resume: Path | None = None,
    console: Console | None = None,
    title: str = "",
    custom: CustomParts | None = None,
) -> Path:
    """Train by a recipe, or continue the run in folder `resume`; return the run's folder.

    Raises:
        TeinetError: a setting, list, video or weights file that does not fit, a loss that is not a number, Ctrl-C.
    """
    console = console or Console()
    recipe = recipe.with_absolute_paths()  # the run can then be tested and resumed from any folder
    if resume is None:
        refuse_folder(recipe)  # before minutes of reading
    else:
        _refuse_other_number(resume, recipe)
    custom = custom or CustomParts()
    finished = lambda splits: resume is not None and is_finished(resume, splits, recipe)  # noqa: E731
    try:
        parts = prepare(recipe, datasets=custom.datasets, finished=finished)
    except KeyboardInterrupt:
        raise Interrupted("stopped before the first step; the same command begins again") from None
    if parts is None:
        assert resume is not None
        said = f"{resume} is finished."
        console.print(said, highlight=False, soft_wrap=True)
        return resume
    refuse_too_large(parts)
    if resume is None and parts.hardware.processes > 1:
        refuse_seen_probe(parts)
    agree(recipe, parts.splits)
    folder = share_folder(lambda: resume or make_folder(recipe))  # an invalid recipe leaves no folder
    with alone_in(folder, resumed=bool(resume)):
        _fit(parts, folder, custom, resumed=bool(resume), console=console, title=title)
    return folder


def _refuse_other_number(folder: Path, recipe: Recipe) -> None:
    """Raise ConfigError if the run in a folder began with another number of processes."""
    then = read_facts(folder).get("processes", recipe.run.devices)
    if then != (now := hardware_of(recipe).processes):
        raise ConfigError(
            f"{folder} began with {then} processes, and now there are {now}, which would take other clips in a step; "
            f"start as many, or a new run from its weights (--weights {folder})"
        )


def _fit(parts: Parts, folder: Path, custom: CustomParts, *, resumed: bool, console: Console, title: str) -> None:
    """Train into a folder that no other run uses."""
    recipe, splits, model, hardware = parts.recipe, parts.splits, parts.model, parts.hardware
    write_facts(folder, recipe, splits, precision=hardware.precision, processes=hardware.processes)
    data, module = parts.data, parts.module(folder / UNREADABLE, custom.loss)
    epoch_log = EpochLog(folder)
    stop = StopSignal(lambda: console.print("stopping after this step; Ctrl-C again stops at once", highlight=False))
    average = AverageWeights(recipe.optim.ema) if recipe.optim.ema else None
    state = RunState(
        folder,
        recipe.run,
        stop=stop,
        save_weights=lambda path, scores: save_weights(path, model, parts.header(scores) | module.label_header()),
        average=average,
    )
    progress = TrainingProgress(console, epoch_log, title=title)
    example = splits["train"].paths[len(splits["train"]) // 2]
    waiting = WaitingAdvice(console, epoch_log, recipe=recipe, example=example, workers=data.workers)
    extra: list[Callback] = [RecomputeBatchNorm(recipe.optim.recompute_bn)] if recipe.optim.recompute_bn else []
    extra += [average] if average else []
    if patience := recipe.optim.patience:
        extra.append(Patience(module.metric, patience))
    trainer = L.Trainer(
        **hardware.trainer_arguments(),
        max_epochs=recipe.optim.epochs,
        accumulate_grad_batches=recipe.optim.accumulate,
        gradient_clip_val=recipe.optim.clip_grad_norm or None,
        check_val_every_n_epoch=recipe.run.validate_every,
        num_sanity_val_steps=0,
        logger=[*(_logger(name, folder) for name in recipe.run.loggers), *custom.loggers],
        log_every_n_steps=10,
        callbacks=[*extra, epoch_log, progress, waiting, CurvesPlot(folder), *custom.callbacks, state],
    )
    if trainer.is_global_zero:
        _announce(console, parts, folder)
    if not resumed and trainer.world_size == 1:
        measure_start(parts, module, state, console)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.run.threads or threads)
    try:
        with stop, ending_together(trainer), data.watch.guard(lambda: _how_to_continue(folder)):
            trainer.fit(module, datamodule=data, ckpt_path=folder / STATE if resumed else None, weights_only=True)
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        if not stop.is_set():
            raise
        raise Interrupted(f"stopped at once. {_how_to_continue(folder)}") from None
    finally:
        torch.set_num_threads(threads)
        os.environ.pop(FOLDER_VARIABLE, None)  # another run of this process makes its own folder
    if trainer.is_global_zero:
        if (done := trainer.current_epoch) < recipe.optim.epochs and recipe.optim.patience:
            what, patience = "mAP" if module.multi_label else "top-1", count(recipe.optim.patience, "validation")
            said = f"ended after epoch {done} of {recipe.optim.epochs}: val {what} did not rise in the last {patience}"
            console.print(said, highlight=False, soft_wrap=True)
        unreadable = len(module.all_unreadable())
        close_facts(folder, unreadable=unreadable)
        if unreadable:
            said = f"{unreadable} of {len(splits['train'])} training clips could not be read and were skipped"
            console.print(f"{said}: {folder / UNREADABLE}", highlight=False, soft_wrap=True)
        if text := weights_to_use(folder)[1]:
            console.print(text, highlight=False, soft_wrap=True)


def _logger(name: str, folder: Path) -> Logger:
    """Return one of Lightning's loggers by its name, which writes into the run's folder or to its service.

    A run that is resumed continues its log there, by its id.
    """
    place = folder / LOGGERS[name]
    if name == "wandb":  # run-DATE_TIME-ID, or offline-run-...
        known = sorted(path.name.partition("run-")[2] for path in place.glob("*run-*-*"))
        version = known[-1].partition("-")[2] if known else None
        return WandbLogger(name=folder.name, save_dir=folder, project="teinet", version=version)
    if name == "mlflow":
        place.mkdir(exist_ok=True)
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{place.absolute()}/mlflow.db"
        server, _, known = (place / "run_id").read_text().partition("\n") if (place / "run_id").is_file() else ("",) * 3
        known = known if server == without_secrets(address) else None
        logger = MLFlowLogger("teinet", run_name=folder.name, tracking_uri=address, run_id=known)
        if logger.run_id and not known:  # None in all processes but the first
            write_text(place / "run_id", f"{without_secrets(address)}\n{logger.run_id}")
        return logger
    if name == "csv":
        return CSVLogger(folder, name=place.name)  # version_0, and one more each time that the run is resumed
    return TensorBoardLogger(folder, name=place.name, version="")


def _how_to_continue(folder: Path) -> str:
    if (folder / STATE).is_file():
        return f"The last state is saved; continue with: teinet train --resume {folder}"
    return f"No state of {folder} was saved yet; the same command begins again."


def _announce(console: Console, parts: Parts, folder: Path) -> None:
    recipe, splits = parts.recipe, parts.splits
    counts = ", ".join(f"{len(clips)} {split}" for split, clips in splits.items())
    config = recipe.optim
    up_to = config.freeze_stages
    stages = f"the stem{f' and the stages up to res{up_to}' if up_to > 1 else ''}" if up_to else ""
    kept = "all but the temporal modules and the last layer" if config.freeze_backbone else stages
    frozen = [f"frozen         {kept}"] if kept else []
    computing = f"{parts.hardware.precision}, {count(parts.data.workers, 'worker')}"
    logged = [f"{LOGGERS[name]}/" for name in recipe.run.loggers]
    lines = [
        f"[bold]{recipe.model.name}[/bold]  {recipe.model.num_frames} frames of {recipe.clip.pixels} px, "
        f"{len(splits['train'].class_names)} classes",
        f"clips          {counts}; format {splits.source.format}",
        f"learning rate  {rate_in_words(recipe, parts.hardware.processes)}",
        f"schedule       {_schedule(config)}; {computing}",
        *frozen,
        f"folder         {folder}  ({', '.join([LAST, LOG, CURVES, *logged])})",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    for note in splits.source.notes:
        console.print(f"note           {note}", highlight=False, soft_wrap=True, markup=False)


def _schedule(config: OptimConfig) -> str:
    epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    if config.schedule != "step":
        return f"{config.schedule}, {epochs}"
    falls = ", ".join(f"{epoch:g}" for epoch in milestones(config)) or "none"
    return f"{epochs}; the rate falls to {config.gamma:g} of itself after epoch {falls}"


def rate_in_words(recipe: Recipe, processes: int) -> str:
    """Return the learning rate that the run uses, and how it follows from the settings."""
    config = recipe.optim
    scaled = f"{config.lr:g} per 64 clips" if config.scale_lr else "not scaled"
    batch = config.batch_size * processes * config.accumulate
    return f"{config.learning_rate(processes):.4g} ({scaled}, global batch {batch})"


class Trained(NamedTuple):
    """A trained run: its folder, and its tests by the recipe's views (none unless it names some)."""

    folder: Path
    tests: list[Tested]

    @property
    def scores(self) -> dict[str, Scores]:
        """The tests' scores by their views, such as 1x1."""
        return {str(test.scores.meta["views"]): test.scores for test in self.tests}

    @property
    def log(self) -> list[dict[str, float]]:
        """The epochs of log.csv: epoch, step, lr, loss, top1, seconds, data_share; val_top1 or val_map, val_loss."""
        return [{k: float(v) for k, v in row.items() if v} for row in read_log(self.folder / LOG)]

    def recognizer(self, device: str = "auto") -> Recognizer:
        """Load the weights after the last epoch; `Recognizer.load(folder / "best.safetensors")` loads the best ones."""
        return Recognizer.load(self.folder, device=device)


def train_and_test(
    recipe: Recipe,
    *,
    resume: Path | None = None,
    console: Console | None = None,
    title: str = "",
    custom: CustomParts | None = None,
) -> Trained:
    """Train or resume, then test by the recipe's views; scores on disk are not computed again.

    Raises:
        TeinetError: see `train` and `test`.
    """
    with together():
        folder = train(recipe, resume=resume, console=console, title=title, custom=custom)
        tests = []
        for views in recipe.tests():
            plan = Plan(
                views=Views.parse(views),
                batch_size=recipe.optim.batch_size,  # fits in memory where a training step did
                workers=recipe.run.workers,
                read_timeout=recipe.run.read_timeout,
                hardware=hardware_of(recipe),
            )
            bar = TestProgress(Console(stderr=True), title=f"{title}testing {views}")
            tests.append(test(folder, plan, reuse=True, callbacks=[bar]))
        return Trained(folder, tests)


def train_official_splits(recipe: Recipe, *, console: Console) -> list[Trained]:
    """Train and test once for each of `run.official_splits`; finished runs are kept, interrupted ones resumed.

    Raises:
        ConfigError: a folder that holds another run.
        TeinetError: see `train` and `test`.
    """
    base = recipe.run.name or recipe.default_name
    done = []
    for split in recipe.run.official_splits:
        one = replace(
            recipe,
            data=replace(recipe.data, official_split=split),
            run=replace(recipe.run, name=f"{base}-split{split}", official_splits=[]),
        )
        folder = Path(one.run.output) / str(one.run.name)
        resume = folder if (folder / STATE).is_file() else None
        if resume and not is_run_of(folder, one):
            raise ConfigError(f"{folder} holds a run of another recipe; choose another name, or remove the folder")
        console.print(f"[bold]split {split}[/bold]", highlight=False)
        try:
            done.append(train_and_test(one, resume=resume, console=console, title=f"split {split}  "))
        except Interrupted:
            raise Interrupted(f"stopped in split {split}; the state is saved, and the same command continues") from None
    return done


def mean_over(tests: Sequence[Tested]) -> tuple[Measured, float]:
    """Return the mean of tests over several splits, and the standard deviation of their top-1 (nan for one)."""
    each = [measured(t.scores) for t in tests]
    top5 = [m.top5 for m in each if m.top5 is not None]
    top1 = [m.top1 for m in each if m.top1 is not None]
    mean = replace(each[0], top1=fmean(top1), top5=fmean(top5) if len(top5) == len(each) else None)
    return mean, stdev(top1) if len(top1) > 1 else math.nan
