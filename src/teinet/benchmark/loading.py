"""What is loaded in a measurement: clips as a training run or a test would load them, through the same loaders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import Dataset

from teinet.data.dataset import Draw, EpochSampler, TrainingClips, Unreadable, collate, seed_of
from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.data.watch import ReadWatch
from teinet.evaluation.evaluate import ClipScore, ViewClips, collate_views, evaluation_loader
from teinet.training.loaders import TrainingData
from teinet.training.recipe import OptimConfig, Recipe, RunConfig


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How clips are loaded.

    Args:
        sampling, preprocessing: frames and pixels of a clip.
        views: of a test; None loads for training, each clip cropped at random.
        batch_size: clips a step; in a test videos.
    """

    sampling: Sampling = field(default_factory=Sampling)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    views: Views | None = None
    batch_size: int = 16

    @property
    def frames_per_clip(self) -> int:
        """Frames that are looked at; crops of the same frame count once."""
        return self.sampling.num_frames * (self.views.num_clips if self.views else 1)

    def dataset(self, clips: ClipList) -> TrainingClips | ViewClips:
        """Maps a draw, or a test's clip number, to pixels."""
        if self.views is None:
            return TrainingClips(clips, self.sampling, self.preprocessing, Augmentation())
        return ViewClips(clips, self.sampling, self.preprocessing, self.views)

    def key(self, index: int) -> Draw | int:
        """What to ask the data set for, to get this clip."""
        return index if self.views else Draw(index, seed_of(0, index))

    def collate(self, samples: Sequence[Any]) -> Any:
        """A batch of samples."""
        return collate_views(samples) if self.views else collate(samples)

    def loader(self, dataset: Dataset, workers: int, watch: ReadWatch) -> Any:
        """The loader of a run or of a test."""
        if self.views:
            return evaluation_loader(dataset, batch_size=self.batch_size, workers=workers, watch=watch)
        recipe = Recipe(optim=OptimConfig(batch_size=self.batch_size), run=RunConfig(workers=workers))
        data = TrainingData(dataset, None, recipe)
        data.watch = watch
        return data.loader(EpochSampler(len(dataset), seed=0))

    def nothing(self, index: int) -> Unreadable | ClipScore:
        """In place of a clip that nobody needs any more."""
        return ClipScore(index, None) if self.views else Unreadable(index, "", "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "views": str(self.views) if self.views else "train",
            "num_frames": self.sampling.num_frames,
            "strategy": self.sampling.strategy,
            **({"window": self.sampling.window} if self.sampling.strategy == "dense" else {}),
            "size": self.preprocessing.to_dict()["size"],
            "short_side": self.preprocessing.short_side,
            "interpolation": self.preprocessing.interpolation,
            "batch_size": self.batch_size,
        }


class Counted(Dataset):
    """Reads as `dataset` does and counts in shared memory, a row for each worker: clips, bytes read, those from disk.

    Bytes are what the system says of the process (Linux); 0 elsewhere.
    """

    def __init__(self, dataset: Any, workers: int, loading: Loading):
        self.dataset, self.clips, self.loading = dataset, dataset.clips, loading
        self.rows = torch.zeros(max(1, workers), 3, dtype=torch.int64).share_memory_()
        if not workers:
            self.rows[0, 1:] = torch.tensor(bytes_read())
        self.over = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        if self.over.item():  # so that a loader that works ahead ends at once
            return self.loading.nothing(key if isinstance(key, int) else key.index)
        sample = self.dataset[key]
        worker = torch.utils.data.get_worker_info()
        row = self.rows[worker.id if worker else 0].numpy()
        row[1:] = bytes_read()
        row[0] += 1
        return sample


def bytes_read() -> tuple[int, int]:
    """What this process has read so far, and what of it came from a disk and not from the system's memory."""
    try:
        with open("/proc/self/io") as file:
            facts = dict(line.split(": ") for line in file.read().splitlines())
        return int(facts["rchar"]), int(facts["read_bytes"])
    except (OSError, KeyError, ValueError):
        return 0, 0
