"""Advice for runs that wait for their clips."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import VideoError
from teinet.training.callbacks import EpochLog
from teinet.training.recipe import Recipe
from teinet.utils.worker_pool import usable_cores

SHARE = 0.2  # of an epoch; less is not reported
SECONDS = 60  # over the rest of the run; less is not reported
_LARGE = 1.5  # times the pixels that are used, on the short side


class WaitingAdvice(Callback):
    """Prints the advice once, after the first epoch that waited long; `example` is a clip's file."""

    def __init__(self, console: Console, epoch_log: EpochLog, *, recipe: Recipe, example: str, workers: int):
        self.console, self.epoch_log, self.recipe = console, epoch_log, recipe
        self.example, self.workers, self.said = example, workers, False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        wait, compute = self.epoch_log.sums["wait"], self.epoch_log.sums["compute"]
        share, epochs = wait / max(wait + compute, 1e-9), (trainer.max_epochs or 0) - trainer.current_epoch - 1
        if self.said or not trainer.is_global_zero or share <= SHARE or wait * epochs < SECONDS:
            return
        self.said = True
        try:
            short_side = min(VideoReader(file_of_list(self.example)).size)
        except VideoError:
            short_side = 0
        most = max(1, usable_cores() // self.recipe.run.devices)
        used = self.recipe.clip.effective_short_side
        text = advice(share, workers=self.workers, most=most, short_side=short_side, used=used)
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def advice(share: float, *, workers: int, most: int, short_side: int, used: int) -> str:
    """Return the advice for an epoch that waited for `share` of its time, 0 to 1.

    Args:
        workers, most: decoding processes per device, and how many the processor's cores allow.
        short_side, used: short side of a clip's frames and of resized frames, pixels.
    """
    remedies = [f"use more workers (--workers {most})"] if workers < most else []
    if short_side > _LARGE * used:
        sizes = f"their short side has {short_side} pixels, {used} are used"
        remedies.append(f"shrink the videos once (teinet data shrink; {sizes})")
    said = ", or ".join(remedies) or "all cores are busy; a faster disk or more cores help"
    return f"waiting for clips took {100 * share:.0f} % of this epoch: {said}"
