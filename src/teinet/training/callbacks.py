"""Callbacks of a run: saved state, log, progress, curves, recomputed batch-norm statistics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from rich.console import Console
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from teinet.data.dataset import EpochSampler
from teinet.errors import Interrupted, RunError, TeinetError
from teinet.evaluation.plots import save_curves
from teinet.models.header import LAST, STATE
from teinet.recognition.recognizer import Recognizer
from teinet.training.module import TrainingModule
from teinet.training.recipe import RunConfig
from teinet.training.run_dir import BEST, COLUMNS, CURVES, LOG, SEVERAL, read_log
from teinet.training.setup import TrainingData
from teinet.utils.files import replacing, write_csv
from teinet.utils.progress import ProgressBars, ProgressTask
from teinet.utils.signals import StopSignal
from teinet.utils.text import duration

log = logging.getLogger("teinet")


class AverageWeights(WeightAveraging):
    """Keeps an exponential average of the weights and statistics over steps, which is validated and saved.

    Args:
        decay: of the average, at each step.
    """

    def __init__(self, decay: float):
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    @contextmanager
    def in_place(self, pl_module: TrainingModule) -> Iterator[None]:
        """Give the module the averaged weights inside the block."""
        self._swap_models(pl_module)
        try:
            yield
        finally:
            self._swap_models(pl_module)


class Patience(EarlyStopping):
    """Ends a run after some validations without a better score; a run that is resumed has its own number of them.

    Args:
        metric: val_top1 or val_map.
        patience: the number of validations.
    """

    def __init__(self, metric: str, patience: int):
        super().__init__(metric, mode="max", patience=patience, check_on_train_epoch_end=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = self.patience
        super().load_state_dict(state_dict)
        self.patience = own
        if self.wait_count >= state_dict["patience"]:  # the run had ended, and is to be longer now
            self.wait_count = 0


class RunState(Callback):
    """Saves the run's state by steps, by minutes and after every epoch; after Ctrl-C or SIGTERM, once a step is done.

    `save_weights(path, scores)` writes a weights file. Weights that give answers before the first step are an epoch 0,
    whose accuracy `start` takes; later ones take their place where they are better on the validation clips. Where
    weights are averaged, the files hold their average.
    """

    def __init__(
        self,
        folder: Path,
        run: RunConfig,
        *,
        stop: StopSignal,
        save_weights: Callable[[Path, dict], None],
        average: AverageWeights | None = None,
    ):
        self.folder, self.run, self.stop, self.save_weights, self.average = folder, run, stop, save_weights, average
        self.best: float | None = None
        self._saved_at = time.monotonic()

    def start(
        self, accuracy: float, metric: str = "val_top1", recognizer: Recognizer | None = None, lead: float = 0.0
    ) -> None:
        """Take a recognizer, by default the network before its first step, as the best weights so far.

        Args:
            lead: how much better the first weights must be that take its place.
        """
        self.best = accuracy + lead
        scores = {"epoch": 0, metric: round(accuracy, 6)}
        if recognizer is None:
            self.save_weights(self.folder / BEST, scores)
        else:
            recognizer.header["scores"] = {**recognizer.header["scores"], **scores}
            recognizer.save(self.folder / BEST)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self.stop.take()  # the trainer has installed its own handler over ours

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TrainingModule, outputs, batch, batch_idx: int) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if last or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the end of the epoch saves; half an accumulated gradient is no state
        due = self.run.save_every_steps and trainer.global_step % self.run.save_every_steps == 0
        due = due or time.monotonic() - self._saved_at > 60 * self.run.save_every_minutes
        stop = self.stop.is_set()
        if trainer.world_size > 1:  # all processes save together, when the first one says so
            due, stop = trainer.strategy.broadcast((due, stop))
        if due or stop or pl_module.problem:
            self._save(trainer)
        if stop:
            self._leave(trainer)
        if pl_module.problem:
            raise RunError(pl_module.problem)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        pl_module.refuse_broken_weights()
        validated = pl_module.validated == trainer.current_epoch  # until the next one metrics stay
        metric = pl_module.metric
        top1 = trainer.callback_metrics.get(metric) if validated else None
        scores: dict[str, float] = {"epoch": trainer.current_epoch + 1}
        if top1 is not None:
            scores[metric] = round(float(top1), 6)
            better = self.best is None or float(top1) > self.best + _ROUNDING
            self.best = float(top1) if better else self.best
            if better and trainer.is_global_zero:
                self._write_weights(BEST, scores, pl_module)
        if trainer.is_global_zero:
            self._write_weights(LAST, scores, pl_module)
        self._save(trainer)
        if pl_module.problem:
            raise RunError(pl_module.problem)
        stop = trainer.strategy.broadcast(self.stop.is_set()) if trainer.world_size > 1 else self.stop.is_set()
        if stop and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            self._leave(trainer)

    def _write_weights(self, name: str, scores: dict, pl_module: TrainingModule) -> None:
        with self.average.in_place(pl_module) if self.average else nullcontext():
            self.save_weights(self.folder / name, scores)

    def _save(self, trainer: L.Trainer) -> None:
        pl_module = trainer.lightning_module
        assert isinstance(pl_module, TrainingModule)
        pl_module.refuse_broken_weights()
        with replacing(self.folder / STATE) if trainer.is_global_zero else nullcontext(self.folder / STATE) as partial:
            trainer.save_checkpoint(partial)  # all processes take part, the first one writes
        self._saved_at = time.monotonic()

    def _leave(self, trainer: L.Trainer) -> None:
        steps = steps_per_epoch(trainer)
        step = (trainer.global_step - 1) % steps + 1
        raise Interrupted(
            f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {step} of {steps}; "
            f"the state is saved. Continue with: teinet train --resume {self.folder}"
        )


class EpochLog(Callback):
    """Writes one line per epoch to log.csv; sums of an unfinished epoch are part of the saved state."""

    def __init__(self, folder: Path):
        self.path = folder / LOG
        self.sums: dict[str, float] = dict.fromkeys(("loss", "correct", "count", "compute", "wait"), 0.0)
        self._rate = 0.0
        self._columns = COLUMNS
        self._mark = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.sums)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums = dict(state_dict)

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._mark = time.monotonic()
        self._columns = SEVERAL if pl_module.multi_label else COLUMNS
        if trainer.is_global_zero:
            self._write([r for r in read_log(self.path) if int(r["epoch"]) <= trainer.current_epoch])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self.sums = dict.fromkeys(self.sums, 0.0)  # not called where a run resumes inside an epoch

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: TrainingModule, batch, batch_idx: int) -> None:
        now = time.monotonic()
        self.sums["wait"] += now - self._mark
        self._mark = now
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]  # that of this step; afterwards it is the next one's

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        self.sums["compute"] += now - self._mark
        self._mark = now
        if "count" in outputs:
            self.sums["loss"] += float(outputs["loss"].detach()) * trainer.accumulate_grad_batches * outputs["count"]
            self.sums["correct"] += float(outputs["correct"])
            self.sums["count"] += outputs["count"]

    def on_validation_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._mark = time.monotonic()  # validating is not waiting for data

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if trainer.world_size > 1:  # each process saw its share of the clips
            sums = torch.tensor(list(self.sums.values()), device=pl_module.device, dtype=torch.float32)
            torch.distributed.all_reduce(sums)
            self.sums = dict(zip(self.sums, sums.tolist()))
            for name in ("compute", "wait"):
                self.sums[name] /= trainer.world_size
        if trainer.is_global_zero and self.sums["count"]:  # else no clip could be read
            row = self.row(trainer)
            self._write([*read_log(self.path), row])
            values = {f"epoch/{k}": float(v) for k, v in row.items() if k not in ("epoch", "step") and v != ""}
            for logger in trainer.loggers:  # also of runs shorter than their interval of steps
                logger.log_metrics(values, step=trainer.global_step)

    def row(self, trainer: L.Trainer) -> dict[str, Any]:
        """Return the epoch so far."""
        s = self.sums
        validated = trainer.lightning_module.validated == trainer.current_epoch
        metrics = trainer.callback_metrics if validated else {}
        seconds = s["compute"] + s["wait"]
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": f"{self._rate:.6g}",
            "loss": f"{s['loss'] / max(s['count'], 1):.5f}",
            "top1": f"{s['correct'] / max(s['count'], 1):.5f}",
            "seconds": f"{seconds:.2f}",
            "data_share": f"{s['wait'] / max(seconds, 1e-9):.3f}",
        }
        for name in ("val_top1", "val_map", "val_loss"):
            row[name] = f"{float(metrics[name]):.5f}" if name in metrics else ""
        return {name: row[name] for name in self._columns}

    def _write(self, rows: list[dict[str, Any]]) -> None:
        write_csv(self.path, self._columns, ([row[name] for name in self._columns] for row in rows))


_ROUNDING = 1e-6  # of a score that is logged in single precision
_SILENT = 10  # seconds of a first epoch until the time left is printed where no bar shows it


class TrainingProgress(Callback):
    """Shows loss, accuracy, the share of time spent waiting for data, and the remaining time of the run."""

    def __init__(self, console: Console, epoch_log: EpochLog, *, title: str = ""):
        self.console = console
        self.epoch_log = epoch_log
        self.title = title
        self._bars = ProgressBars(console)
        self._task: ProgressTask | None = None
        self._began = 0.0
        self._first_step = 0
        self._told = False

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._began, self._first_step = time.monotonic(), trainer.global_step
        if trainer.global_step and trainer.is_global_zero:
            done: Any = trainer.fit_loop.epoch_progress.current
            line = f"{self.title}continues in epoch {done.processed + 1} of {trainer.max_epochs}"
            self.console.print(f"{line}, after step {trainer.global_step}", highlight=False)
        if trainer.is_global_zero:
            self._bars.start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if self._task is not None:
            self._task.remove()
        text = f"{self.title}epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._task = self._bars.task(text, trainer.num_training_batches, unit=None)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TrainingModule, outputs, batch, batch_idx: int) -> None:
        if self._task is None:  # resumed in the middle of an epoch
            self.on_train_epoch_start(trainer, pl_module)
        silent = trainer.is_global_zero and not self.console.is_terminal and not self._told
        if silent and time.monotonic() - self._began > _SILENT:  # in a file or a pipe, where no bar is shown
            self._told = True
            line = f"{self.title}step {trainer.global_step}, about {self._left(trainer)} left"
            self.console.print(line, highlight=False)
        if self._task is not None and self.console.is_terminal:
            self._task.update(batch_idx + 1, facts=f"{self._facts(trainer)}  {self._left(trainer)} left")

    def on_validation_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if self._task is not None:
            self._task.update(trainer.num_training_batches, facts=f"{self._facts(trainer)}  validating")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if trainer.is_global_zero and self.epoch_log.sums["count"]:
            width = len(str(trainer.max_epochs))
            epoch = f"{self.title}epoch {trainer.current_epoch + 1:{width}}/{trainer.max_epochs}"
            line = f"{epoch}  {self._facts(trainer)}  {self._left(trainer)} left"
            self.console.print(line, highlight=False, soft_wrap=True)

    def _facts(self, trainer: L.Trainer) -> str:
        row = self.epoch_log.row(trainer)
        facts = f"loss {float(row['loss']):.3f}"
        for name, said in (("top1", "top-1"), ("val_top1", "val top-1"), ("val_map", "val mAP")):
            if row.get(name):
                facts += f"  {said} {float(row[name]):.1%}"
        if self.console.width >= 100:
            facts += f"  lr {float(row['lr']):.2g}"
        return f"{facts}  data wait {float(row['data_share']):.0%}"

    def _left(self, trainer: L.Trainer) -> str:
        done = trainer.global_step - self._first_step
        total = (trainer.max_epochs or 0) * steps_per_epoch(trainer) - self._first_step
        seconds = (time.monotonic() - self._began) / max(done, 1) * max(total - done, 0)
        return duration(seconds)

    def on_train_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._bars.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: TrainingModule, exception: BaseException) -> None:
        self._bars.stop()


def steps_per_epoch(trainer: L.Trainer) -> int:
    """Return the number of optimizer steps in an epoch."""
    return -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)


class CurvesPlot(Callback):
    """Plots log.csv to curves.png, unless no epoch was completed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._draw(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, TeinetError):  # a regular stop; a second Ctrl-C wants no image
            self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> None:
        rows = read_log(self.folder / LOG) if trainer.is_global_zero else []
        if not rows:
            return
        try:
            with replacing(self.folder / CURVES) as part:
                save_curves({self.folder.name: rows}, part, title=self.folder.name)
        except OSError as error:  # the weights are saved; a missing image must not fail the run
            log.warning("%s cannot be written (%s); teinet report plots it again", self.folder / CURVES, error.strerror)


class RecomputeBatchNorm(Callback):
    """Averages batch norm statistics over `batches` batches before validation, or at the end of epochs without one.

    With few clips and a high learning rate the running averages lag behind the weights. All processes use the same
    batches, so all keep the same statistics. Frozen batch norms stay as they are.
    """

    def __init__(self, batches: int):
        self.batches = batches
        self._fresh = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._fresh = False

    def on_validation_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        data: TrainingData = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]: set by Lightning
        seed, shares = pl_module.recipe.run.seed, data.shares()
        where = {"epoch": trainer.current_epoch, "shares": shares, "shards": data.shards}
        sampler = EpochSampler(len(data.train), seed=seed, **where)
        batches = (b.frames.to(pl_module.device) for b in islice(data.loader(sampler), self.batches) if len(b.labels))
        recompute_statistics(pl_module.model, batches, frozen=pl_module.frozen)
        self._fresh = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if not self._fresh:
            self.on_validation_start(trainer, pl_module)


@torch.no_grad()
def recompute_statistics(
    model: nn.Module, batches: Iterable[torch.Tensor], *, frozen: Iterable[nn.Module] = ()
) -> None:
    """Set the running statistics of every batch norm that is not `frozen` to their mean over `batches` of clips."""
    # `torch.optim.swa_utils.update_bn` would reset frozen ones too, and drop units out meanwhile.
    kept = {id(m) for m in frozen}
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and id(m) not in kept]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    model.eval()  # no dropout in between
    for i, clips in enumerate(batches):
        for norm in norms if i == 0 else ():  # only now is there certainly a batch
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.train()
        model(clips)
    model.train(was_training)
    for layer in frozen:
        layer.eval()
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
