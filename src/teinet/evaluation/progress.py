"""The progress of a test: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TestProgress(Callback):
    """Counts the batches of the first process and shows the time left."""

    __test__ = False  # no test of ours, whatever pytest takes its name for

    def __init__(self, console: Console, title: str = "testing"):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.title = title

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=sum(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: L.Trainer, *args: object, **kwargs: object) -> None:
        if trainer.is_global_zero:
            self.bar.advance(self.task)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.bar.stop()
