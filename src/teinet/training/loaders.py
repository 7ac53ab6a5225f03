"""The loaders of a run; the training loader continues a resumed epoch behind the batches that were taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch

from teinet.data.clip_loader import ClipLoader, ReadWatch
from teinet.data.dataset import EpochSampler, TrainingClips, collate
from teinet.evaluation.evaluate import ViewClips, evaluation_loader
from teinet.training.recipe import Recipe


class ResumableLoader(ClipLoader):
    """A loader with a state that Lightning saves and loads: how many batches of the epoch were taken.

    That is enough, since clips and their order are functions of seed and epoch; how far workers had read ahead, and how
    many they were, is no part of it. Needs an `EpochSampler`.
    """

    sampler: EpochSampler
    batch_size: int

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self._taken = 0
        self._behind = 0  # batches that the next pass leaves out

    def __iter__(self) -> Iterator[Any]:
        # Nothing runs, and no worker starts, before the first batch is asked for: by then the epoch is set.
        self._taken, self._behind = self._behind, 0
        self.sampler.skip = self._taken * self.batch_size
        for batch in super().__iter__():
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """What to save."""
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass begins behind what was taken; where all was taken, at the beginning of the next epoch."""
        self._behind = state["taken"] if state["taken"] < len(self) else 0


class TrainingData(L.LightningDataModule):
    """The loaders of a run: training clips in an order set by seed and epoch, validation clips once each."""

    def __init__(self, train: TrainingClips, val: ViewClips | None, recipe: Recipe):
        super().__init__()
        self.train, self.val, self.recipe = train, val, recipe
        self.workers = number_of_workers(recipe)
        self.watch = ReadWatch(recipe.run.read_timeout, option="--run.read_timeout")

    def train_dataloader(self) -> ResumableLoader:
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        sampler = EpochSampler(
            len(self.train),
            seed=self.recipe.run.seed,
            # Workers begin before anyone calls set_epoch. `current_epoch` counts what is completed: a state that was
            # saved at the end of an epoch would begin with that epoch's clips again.
            epoch=progress.processed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self.loader(sampler)

    def loader(self, sampler: EpochSampler) -> ResumableLoader:
        """Batches of the clips that `sampler` draws; remembers how many were taken."""
        return ResumableLoader(
            self.train,
            watch=self.watch,
            batch_size=self.recipe.optim.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> Any:
        if self.val is None:
            return []
        assert self.trainer is not None
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
