"""A loader that goes on, in a resumed run, behind the batches that were taken, with any number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from teinet.data.dataset import EpochSampler


class ResumableLoader(DataLoader):
    """A DataLoader with a state that Lightning saves and loads: how many batches of the epoch were taken.

    That is enough, since clips and their order are functions of seed and epoch; how far workers had read ahead, and how
    many they were, is no part of it. Needs an `EpochSampler`.
    """

    sampler: EpochSampler

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
