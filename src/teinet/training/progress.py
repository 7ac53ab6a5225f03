"""The progress of training: a live bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import time

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from teinet.training.module import TrainingModule
from teinet.training.state import EpochLog
from teinet.utils.progress import ProgressBars, ProgressTask
from teinet.utils.text import duration


class TrainingProgress(Callback):
    """Shows loss, accuracy, the share of time that goes to data, and the time left for the whole run."""

    def __init__(self, console: Console, epoch_log: EpochLog, *, title: str = ""):
        self.console = console
        self.epoch_log = epoch_log
        self.title = title
        self._bars = ProgressBars(console)
        self._task: ProgressTask | None = None
        self._began = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._began, self._first_step = time.monotonic(), trainer.global_step
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
        if self.console.is_terminal:
            self._task.update(batch_idx + 1, facts=f"{self._facts(trainer)}  {self._left(trainer)} left")

    def on_validation_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if self._task is not None:
            self._task.update(trainer.num_training_batches, facts=f"{self._facts(trainer)}  validating")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if trainer.is_global_zero:
            width = len(str(trainer.max_epochs))
            epoch = f"{self.title}epoch {trainer.current_epoch + 1:{width}}/{trainer.max_epochs}"
            self.console.print(
                f"{epoch}  {self._facts(trainer)}  {self._left(trainer)} left", highlight=False, soft_wrap=True
            )

    def _facts(self, trainer: L.Trainer) -> str:
        row = self.epoch_log.row(trainer)
        facts = f"loss {float(row['loss']):.3f}  top-1 {float(row['top1']):.1%}"
        if row["val_top1"]:
            facts += f"  val {float(row['val_top1']):.1%}"
        if self.console.width >= 100:
            facts += f"  lr {float(row['lr']):.2g}"
        return f"{facts}  data {float(row['data_share']):.0%}"

    def _left(self, trainer: L.Trainer) -> str:
        done = trainer.global_step - self._first_step
        total = trainer.max_epochs * steps_per_epoch(trainer) - self._first_step
        seconds = (time.monotonic() - self._began) / max(done, 1) * max(total - done, 0)
        return duration(seconds)

    def on_train_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._bars.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: TrainingModule, exception: BaseException) -> None:
        self._bars.stop()


def steps_per_epoch(trainer: L.Trainer) -> int:
    """Optimiser steps of one epoch."""
    return -(-trainer.num_training_batches // trainer.accumulate_grad_batches)
