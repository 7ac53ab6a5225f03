"""Says when training waits for its clips, and what would help."""

from __future__ import annotations

import math
from statistics import median

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from teinet.data.lists.rows import ClipList
from teinet.data.video import image_folder
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError
from teinet.training.callbacks import EpochLog
from teinet.training.recipe import Recipe
from teinet.utils.worker_pool import usable_cores

SHARE = 0.2  # of an epoch; less is not worth a word
SECONDS = 60  # nor is this, over the rest of the run
_LARGE = 1.5  # times the pixels that are used, on the short side
_LOOK_AT = 5  # clips


def advice(
    share: float,
    *,
    workers: int,
    devices: int,
    cores: int,
    short_side: int | None,
    used: int,
    images: bool,
    first: bool,
) -> str:
    """What a user is told of an epoch that waited for clips for this share of its time.

    Args:
        workers: decoding processes for each device.
        devices: how many.
        cores: of the processor, that this process may use.
        short_side: of the clips' frames, pixels; None where it is not known.
        used: how many of these pixels a frame has once it is resized.
        images: clips are folders of images.
        first: this was the run's first epoch.
    """
    cores_in_words = f"{cores} core{'s' * (cores != 1)}"
    idle = workers < cores // devices
    remedies = []
    if idle:
        # as many as would read as fast as the network computes, if each reads as fast as one does now
        enough = math.ceil(workers / max(1 - share, 1e-3)) if workers else cores - 1
        number = max(workers + 1, min(enough, cores // devices))
        what = "more workers" if workers else "workers to read them"
        remedies.append(f"give it {what} (--run.workers {number}; this machine has {cores_in_words})")
    if short_side is not None and short_side > _LARGE * used:
        things, sizes = "images" if images else "videos", f"their short side has {short_side} pixels, {used} are used"
        remedies.append(f"shrink the {things} once (teinet data shrink; {sizes})")
    if not remedies:
        other = "a fast local disk for so many small files" if images else "a faster disk or more cores"
        remedies.append(f"what helps is {other}")
    busy = "" if idle else f"{cores_in_words} at work already; "
    note = " (the first one counts the frames of new files too, the next ones wait less)" * (first and not images)
    return f"waiting for clips took {100 * share:.0f} % of this epoch{note}: {busy}{', or '.join(remedies)}"


class WaitingAdvice(Callback):
    """Prints the advice once, after the line of the first epoch of which it is worth it."""

    def __init__(self, console: Console, epoch_log: EpochLog, *, recipe: Recipe, clips: ClipList, workers: int):
        self.console, self.epoch_log, self.recipe, self.workers = console, epoch_log, recipe, workers
        places = np.linspace(0, len(clips) - 1, min(_LOOK_AT, len(clips)), dtype=int)
        self.examples = [clips.paths[int(i)] for i in places]
        self.said = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        wait, compute = self.epoch_log.sums["wait"], self.epoch_log.sums["compute"]
        share, to_come = (
            wait / max(wait + compute, 1e-9),
            wait * ((trainer.max_epochs or 0) - trainer.current_epoch - 1),
        )
        if self.said or not trainer.is_global_zero or share <= SHARE or to_come < SECONDS:
            return
        self.said = True
        sides = []
        for path in self.examples:
            try:
                sides.append(min(VideoReader(path).size))  # was read a while ago: it neither takes long nor hangs
            except VideoError:
                pass
        text = advice(
            share,
            workers=self.workers,
            devices=self.recipe.run.devices,
            cores=usable_cores(),
            short_side=round(median(sides)) if sides else None,
            used=self.recipe.clip.effective_short_side,
            images=all(map(image_folder.is_folder, self.examples)),
            first=trainer.current_epoch == 0,
        )
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
