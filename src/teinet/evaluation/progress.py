"""The progress of a test: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from teinet.evaluation.evaluate import Scoring
from teinet.utils.progress import ProgressBars


class TestProgress(Callback):
    """Counts the clips of the first process and shows the time left."""

    __test__ = False  # no test of ours, whatever pytest takes its name for

    def __init__(self, console: Console, title: str = "testing"):
        self.bars = ProgressBars(console)
        self.title = title

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.bars.start()
            self.task = self.bars.task(self.title, len(trainer.val_dataloaders.sampler), unit="clips")

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Scoring, *args: object, **kwargs: object) -> None:
        if trainer.is_global_zero:
            self.task.update(pl_module.num_scored)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bars.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.bars.stop()
