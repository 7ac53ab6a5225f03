"""The loaders of a run."""

from __future__ import annotations

import os
from typing import Any

import lightning as L
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from teinet.data.dataset import EpochSampler, TrainingClips, collate
from teinet.evaluation.evaluate import ViewClips, evaluation_loader
from teinet.evaluation.hardware import prepare_worker
from teinet.training.recipe import Recipe


class TrainingData(L.LightningDataModule):
    """The loaders of a run: training clips in an order set by seed and epoch, validation clips once each."""

    def __init__(self, train: TrainingClips, val: ViewClips | None, recipe: Recipe):
        super().__init__()
        self.train, self.val, self.recipe = train, val, recipe
        self.workers = number_of_workers(recipe)

    def train_dataloader(self) -> StatefulDataLoader:
        sampler = EpochSampler(
            len(self.train),
            seed=self.recipe.run.seed,
            epoch=self.trainer.current_epoch,  # a resumed run starts inside an epoch, before anyone calls set_epoch
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self.loader(sampler)

    def loader(self, sampler: EpochSampler) -> StatefulDataLoader:
        """Batches of the clips that `sampler` draws; remembers how many were taken."""
        return StatefulDataLoader(
            self.train,
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
        )


def number_of_workers(recipe: Recipe) -> int:
    """Decoding processes: those set, or one per core up to 8, divided among the devices."""
    if recipe.run.workers is not None:
        return recipe.run.workers
    return max(1, min(8, (os.cpu_count() or 1) // recipe.run.devices))
