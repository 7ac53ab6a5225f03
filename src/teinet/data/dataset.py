"""Clips for training: each drawn by its own random generator, so that the same run always sees the same clips."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from teinet.data.lists.labels import mirrored_labels
from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing, train_clip
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError


class Draw(NamedTuple):
    """Which clip, and the seed of everything random about it."""

    index: int
    seed: int


@dataclass(frozen=True)
class Unreadable:
    """A clip that could not be read, in place of its frames."""

    index: int
    path: str
    reason: str


class ClipBatch(NamedTuple):
    """`frames` (B,T,3,S,S) uint8, `labels` (B,), `indices` (B,) into the list; B counts the readable clips only."""

    frames: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    unreadable: list[tuple[str, str]]  # (path, reason)


class TrainingClips(Dataset):
    """Maps a `Draw` to one augmented clip (T,3,S,S) uint8 with its label and index, or to `Unreadable`."""

    def __init__(
        self,
        clips: ClipList,
        sampling: Sampling,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        *,
        mirror_labels: bool = True,
    ):
        self.clips = clips
        self.sampling = sampling
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.mirrored = mirrored_labels(clips.class_names) if augmentation.mirror and mirror_labels else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int, int] | Unreadable:
        index, seed = draw
        start, end = self.clips.span(index)

        def choose(n: int) -> np.ndarray:  # may be called again with the true n: its draws must not add up
            return self.sampling.train(n, np.random.default_rng((seed, 0)))

        try:
            frames = VideoReader(self.clips.paths[index], threads=1).sample(choose, start, end)
        except VideoError as error:
            return Unreadable(index, error.path, error.reason)
        rng = np.random.default_rng((seed, 1))
        clip, flipped = train_clip(frames.images, self.preprocessing, self.augmentation, rng)
        label = int(self.clips.labels[index])
        return clip, self.mirrored[label] if flipped and self.mirrored else label, index


def collate(samples: Sequence[tuple[torch.Tensor, int, int] | Unreadable]) -> ClipBatch:
    """Stack the readable clips and list the others; with none readable, `frames` has no rows."""
    good = [s for s in samples if not isinstance(s, Unreadable)]
    bad = [(s.path, s.reason) for s in samples if isinstance(s, Unreadable)]
    frames = torch.stack([s[0] for s in good]) if good else torch.empty(0, dtype=torch.uint8)
    return ClipBatch(frames, torch.tensor([s[1] for s in good]), torch.tensor([s[2] for s in good]), bad)


def seed_of(*parts: int) -> int:
    """A 63-bit seed from whole numbers, the same on every machine."""
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class EpochSampler(Sampler[Draw]):
    """A shuffled pass over `length` clips that is a pure function of (seed, epoch), divided among the processes.

    Every process gets equally many draws: the shuffled list is filled up from its own beginning.
    """

    def __init__(self, length: int, *, seed: int, epoch: int = 0, rank: int = 0, world_size: int = 1):
        self.length, self.seed, self.epoch, self.rank, self.world_size = length, seed, epoch, rank, world_size
        self.skip = 0  # draws that the next pass leaves out, and no later one

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng(seed_of(self.seed, self.epoch)).permutation(self.length)
        mine = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        skip, self.skip = self.skip, 0
        for index in mine.tolist()[skip:]:
            yield Draw(index, seed_of(self.seed, self.epoch, index))
