"""Ctrl-C and SIGTERM during a test: the running batch is finished, then all processes stop together."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback

from teinet.errors import Interrupted
from teinet.evaluation.hardware import gather
from teinet.utils.signals import StopSignal


class StopOnSignal(Callback):
    """Raises `Interrupted` after the batch in which the first signal came; the second one stops at once.

    A signal in the very last batch changes nothing, for then the test is complete.
    """

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.take()  # the trainer put a handler of its own around ours, which talks to the other processes

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int, *_: int
    ) -> None:
        loader = trainer.val_dataloaders
        clips, world = len(loader.dataset), trainer.world_size
        if batch_idx + 1 >= -(-(clips // world) // loader.batch_size):
            return  # the last batch of the smallest share: after it not all processes would answer
        stop = trainer.strategy.broadcast(self.stop.is_set()) if world > 1 else self.stop.is_set()
        if stop:
            raise Interrupted(stopped(sum(gather(pl_module.num_scored)), clips))


def stopped(done: int, clips: int) -> str:
    """What a user is told about a test that did not come to its end."""
    return f"stopped after {done} of {clips} clips; half a test is not kept, the same command starts it anew"
