"""Ctrl-C and SIGTERM during a test: the running batch is finished, then all processes stop together."""

from __future__ import annotations

import signal
import threading
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from teinet.errors import Interrupted
from teinet.evaluation.hardware import gather


class StopOnSignal(Callback):
    """Raises `Interrupted` after the batch in which the first signal came; the second one stops at once.

    A context manager around the trainer's call: it takes the signals, and gives them back at the end. A signal in the
    very last batch changes nothing, for then the test is complete.
    """

    def __init__(self) -> None:
        self.asked = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            self._take()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _take(self) -> None:
        for number in self._handlers:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take()  # the trainer put a handler of its own around ours, which talks to the other processes

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int, *_: int
    ) -> None:
        loader = trainer.val_dataloaders
        clips, world = len(loader.dataset), trainer.world_size
        if batch_idx + 1 >= -(-(clips // world) // loader.batch_size):
            return  # the last batch of the smallest share: after it not all processes would answer
        stop = trainer.strategy.broadcast(self.asked) if world > 1 else self.asked
        if stop:
            raise Interrupted(stopped(sum(gather(pl_module.num_scored)), clips))


def stopped(done: int, clips: int) -> str:
    """What a user is told about a test that did not come to its end."""
    return f"stopped after {done} of {clips} clips; half a test is not kept, the same command starts it anew"
