"""Says when training waits for its clips, and what would help."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from teinet.data.lists.rows import ClipList
from teinet.data.video import image_folder
from teinet.data.video.index import is_known
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError
from teinet.training.callbacks import EpochLog
from teinet.training.recipe import Recipe
from teinet.utils.worker_pool import usable_cores

SHARE = 0.2  # of an epoch; less is not worth a word
SECONDS = 60  # nor is this, over the rest of the run
WORSE = 0.1
EPOCHS = 5  # between two words, at least
_LARGE = 1.5  # times the pixels that are used, on the short side
_LOOK_AT = 5  # clips


@dataclass(frozen=True, kw_only=True)
class Feeding:
    """What feeds a run.

    Args:
        workers: decoding processes for each device.
        devices: how many.
        cores: of the processor, that this process may use.
        short_side: of the clips' pictures, pixels; None where it is not known.
        used: how many of these pixels a frame has once it is resized.
        pictures: clips are folders of pictures.
        counting: this epoch met most files for the first time, and counted their frames too.
    """

    workers: int
    devices: int
    cores: int
    short_side: int | None
    used: int
    pictures: bool = False
    counting: bool = False


def advice(share: float, feeding: Feeding) -> str:
    """What a user is told of an epoch that waited for clips for this share of its time."""
    f = feeding
    cores = f"{f.cores} core{'s' * (f.cores != 1)}"
    things = "pictures" if f.pictures else "videos"
    idle = f.workers < f.cores // f.devices
    remedies = []
    if idle:
        # as many as would read as fast as the network computes, if each reads as fast as one does now
        enough = math.ceil(f.workers / max(1 - share, 1e-3)) if f.workers else f.cores - 1
        number = max(f.workers + 1, min(enough, f.cores // f.devices))
        what = "more workers" if f.workers else "workers to read them"
        remedies.append(f"give it {what} (--run.workers {number}; this machine has {cores})")
    if f.short_side is not None and f.short_side > _LARGE * f.used:
        sizes = f"their short side has {f.short_side} pixels, {f.used} are used"
        remedies.append(f"shrink the {things} once (teinet data shrink; {sizes})")
    if not remedies:
        other = "a fast local disk for so many small files" if f.pictures else "a faster disk or more cores"
        remedies.append(f"what helps is {other}")
    busy = "" if idle else f"{cores} at work already; "
    note = " (the first epoch also counts the frames of each file, the next ones wait less)" if f.counting else ""
    return f"waiting for clips took {100 * share:.0f} % of this epoch{note}: {busy}{', or '.join(remedies)}"


@dataclass
class Restraint:
    """When to speak: of shares worth it; again only when it has become worse, and not for some epochs."""

    said: float | None = None
    epoch: int = 0

    def speaks(self, share: float, *, epoch: int, seconds_left: float) -> bool:
        """Whether to speak at the end of this epoch, which is then remembered.

        Args:
            seconds_left: that the rest of the run would wait, if it waits as this epoch did.
        """
        if share <= SHARE or seconds_left < SECONDS:
            return False
        if self.said is not None and (share < self.said + WORSE or epoch < self.epoch + EPOCHS):
            return False
        self.said, self.epoch = share, epoch
        return True


class WaitingAdvice(Callback):
    """Prints the advice after an epoch's line."""

    def __init__(self, console: Console, epoch_log: EpochLog, *, recipe: Recipe, clips: ClipList, workers: int):
        self.console, self.epoch_log = console, epoch_log
        self.recipe, self.workers = recipe, workers
        self.examples = [
            clips.paths[int(i)] for i in np.linspace(0, len(clips) - 1, min(_LOOK_AT, len(clips)), dtype=int)
        ]
        self.restraint = Restraint()
        self._counting = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._counting = not any(_is_counted(path) for path in self.examples)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            wait, compute = self.epoch_log.sums["wait"], self.epoch_log.sums["compute"]
            share, epoch = wait / max(wait + compute, 1e-9), trainer.current_epoch
            if self.restraint.speaks(share, epoch=epoch, seconds_left=wait * ((trainer.max_epochs or 0) - epoch - 1)):
                self.console.print(advice(share, self._feeding()), highlight=False, soft_wrap=True, markup=False)
        self._counting = False

    def _feeding(self) -> Feeding:
        sides = []
        for path in self.examples:
            try:
                sides.append(min(VideoReader(path).size))  # was read a while ago: it neither takes long nor hangs
            except VideoError:
                pass
        return Feeding(
            workers=self.workers,
            devices=self.recipe.run.devices,
            cores=usable_cores(),
            short_side=round(median(sides)) if sides else None,
            used=self.recipe.clip.effective_short_side,
            pictures=all(map(image_folder.is_folder, self.examples)),
            counting=self._counting,
        )


def _is_counted(path: str) -> bool:
    """Whether an earlier run, or another command, has counted the frames of a file."""
    try:
        return image_folder.is_folder(path) or is_known(path)
    except OSError:
        return False
