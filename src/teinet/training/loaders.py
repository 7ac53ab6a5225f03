"""The loaders of a run."""

from __future__ import annotations

import os
from typing import Any

import lightning as L
import torch

from teinet.data.dataset import EpochSampler, TrainingClips, collate
from teinet.data.watch import ReadWatch
from teinet.evaluation.evaluate import ViewClips, evaluation_loader
from teinet.evaluation.hardware import prepare_worker
from teinet.training.recipe import Recipe
from teinet.training.resumable import ResumableLoader


class TrainingData(L.LightningDataModule):
    """The loaders of a run: training clips in an order set by seed and epoch, validation clips once each."""

    def __init__(self, train: TrainingClips, val: ViewClips | None, recipe: Recipe):
        super().__init__()
        self.train, self.val, self.recipe = train, val, recipe
        self.workers = number_of_workers(recipe)
        self.watch = ReadWatch(recipe.run.read_timeout, option="--run.read_timeout")

    def train_dataloader(self) -> ResumableLoader:
        sampler = EpochSampler(
            len(self.train),
            seed=self.recipe.run.seed,
            # Workers begin before anyone calls set_epoch. `current_epoch` counts what is completed: a state that was
            # saved at the end of an epoch would begin with that epoch's clips again.
            epoch=self.trainer.fit_loop.epoch_progress.current.processed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self.loader(sampler)

    def loader(self, sampler: EpochSampler) -> ResumableLoader:
        """Batches of the clips that `sampler` draws; remembers how many were taken."""
        return ResumableLoader(
            self.watch.over(self.train, self.workers),
            batch_size=self.recipe.optim.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=prepare_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> Any:
        if self.val is None:
            return []
        return evaluation_loader(
            self.val,
            batch_size=self.recipe.optim.batch_size,
            workers=self.workers,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            watch=self.watch,
        )


def number_of_workers(recipe: Recipe) -> int:
    """Decoding processes: those set, or one per core up to 8, divided among the devices."""
    if recipe.run.workers is not None:
        return recipe.run.workers
    return max(1, min(8, (os.cpu_count() or 1) // recipe.run.devices))
