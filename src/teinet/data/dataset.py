"""Training clips, each augmented by its own random generator, and a DataLoader that names the file on which it hangs.

A read may hang in C code (a dead network disk, an endless loop in a decoder), where Python's exceptions and signal
handlers do not run. So each worker notes its current clip in shared memory; a clip noted at two timeouts is the cause.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from teinet.data.lists.data_config import READ_TIMEOUT
from teinet.data.lists.labels import flipped_labels
from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.shards import shard_order
from teinet.data.transforms import Augmentation, Preprocessing, TrainingCrop
from teinet.data.video.flow import clip_reader
from teinet.errors import RunError, VideoError
from teinet.utils.signals import first_process, handling, ignore_signals

log = logging.getLogger("teinet")

_DEATH = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_SIGNAL = re.compile(r"killed by signal: ([\w ]+)")


class Draw(NamedTuple):
    """The index of a clip, and the seed of its random augmentation."""

    index: int
    seed: int


@dataclass(frozen=True)
class Unreadable:
    """A clip that could not be read, in place of its frames."""

    index: int
    path: str
    reason: str


class ClipBatch(NamedTuple):
    """`frames` (B,T,3,S,S) uint8, `labels` (B,) and list `indices` (B,) of the B readable clips of a batch.

    Where clips have several labels, `labels` are (B, classes) float32 of 0 and 1.
    """

    frames: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    unreadable: list[tuple[str, str]]  # (path, reason)
    damaged: Sequence[tuple[str, str]] = ()  # of the readable clips


class TrainingClips(Dataset):
    """Maps a `Draw` to one augmented clip (T,3,S,S) uint8 with its label and index, or to `Unreadable`.

    A clip of a damaged file has a fourth value, (path, damage).
    """

    def __init__(self, clips: ClipList, sampling: Sampling, preprocessing: Preprocessing, augmentation: Augmentation):
        self.clips = clips
        self.sampling = sampling
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.flipped_labels = flipped_labels(clips.class_names) if augmentation.hflip else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> tuple[Any, ...] | Unreadable:
        index, seed = draw
        start, end = self.clips.span(index)

        def choose(n: int) -> np.ndarray:  # with its own generator, as it may be called again with the true n
            return self.sampling.train(n, np.random.default_rng((seed, 0)), self.augmentation.min_part)

        try:
            path, most = self.clips.paths[index], self.clips.max_damaged
            reader = clip_reader(path, self.preprocessing.modality, max_damaged=most)
            width, height = reader.size
            rng = np.random.default_rng((seed, 1))
            crop = TrainingCrop.draw(height, width, self.preprocessing, self.augmentation, rng)
            frames = reader.sample(choose, start, end, transform=crop)
        except VideoError as error:
            return Unreadable(index, error.path, error.reason)
        clip = torch.from_numpy(frames.images).permute(0, 3, 1, 2)  # (T, S, S, C) -> (T, C, S, S)
        clip = self.augmentation.change_pixels(clip, seed)
        label = self._label(index, crop.flipped)
        return (clip, label, index, (reader.path, reader.damage)) if reader.damage else (clip, label, index)

    def _label(self, index: int, flipped: bool) -> int | torch.Tensor:
        """Return the class of a clip, flipped or not; or (classes,) float32 of 0 and 1 where clips have several."""
        image = self.flipped_labels if flipped else None
        if self.clips.label_sets is None:
            label = int(self.clips.labels[index])
            return image[label] if image else label
        own = np.flatnonzero(self.clips.label_sets[index]).tolist()
        found = torch.zeros(len(self.clips.class_names))
        found[[image[label] for label in own] if image else own] = 1
        return found


def collate(samples: Sequence[tuple[Any, ...] | Unreadable]) -> ClipBatch:
    """Stack the readable clips and list the unreadable ones; if none is readable, `frames` is empty."""
    good = [s for s in samples if not isinstance(s, Unreadable)]
    bad = [(s.path, s.reason) for s in samples if isinstance(s, Unreadable)]
    frames = torch.stack([s[0] for s in good]) if good else torch.empty(0, dtype=torch.uint8)
    labels = torch.stack([torch.as_tensor(s[1]) for s in good]) if good else torch.empty(0)
    indices = torch.tensor([s[2] for s in good])
    return ClipBatch(frames, labels, indices, bad, [damage for s in good for damage in s[3:]])


def seed_of(*parts: int) -> int:
    """Return a 63-bit seed from integers, the same on every machine."""
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class EpochSampler(Sampler[Draw]):
    """Shuffles clips by (seed, epoch) in equal shares for all processes, padded with the first clips.

    With `shares` (length,), each clip's probability, as many clips are drawn at random, some several times. With
    `shards` (length,), the numbers of the clips' shards, the order is that of `shard_order`, in a stretch for each
    process.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shares: np.ndarray | None = None,
        shards: np.ndarray | None = None,
    ):
        self.length, self.seed, self.epoch, self.rank, self.world_size = length, seed, epoch, rank, world_size
        self.shares, self.shards = shares, shards
        self.skip = 0  # draws to skip in the next pass only

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng(seed_of(self.seed, self.epoch))
        if self.shares is not None:
            order = rng.choice(self.length, self.length, p=self.shares)
        elif self.shards is not None:
            order = shard_order(self.shards, rng)
        else:
            order = rng.permutation(self.length)
        order = np.resize(order, len(self) * self.world_size)
        by_stretch = self.shares is None and self.shards is not None
        mine = np.split(order, self.world_size)[self.rank] if by_stretch else order[self.rank :: self.world_size]
        skip, self.skip = self.skip, 0
        for place, index in list(enumerate(mine.tolist()))[skip:]:
            again = () if self.shares is None else (place, self.rank)  # a clip that is drawn twice differs
            yield Draw(index, seed_of(self.seed, self.epoch, index, *again))


class _ReadTimeout(Exception):
    """Reading the files in its arguments timed out."""


class _NotedClips(Dataset):
    """Clips whose workers note what they read: `notes` (workers, 2) are the process and the index of the clip or -1."""

    def __init__(self, dataset: Any, workers: int):
        self.dataset = dataset
        self.notes = torch.full((workers, 2), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        worker: Any = get_worker_info()
        note = self.notes[worker.id].numpy()
        note[:] = os.getpid(), key if isinstance(key, int) else key.index
        try:
            return self.dataset[key]
        finally:
            note[1] = -1

    def reads(self) -> set[tuple[int, str]]:
        """Return the processes that are reading, with their files."""
        return {(process, self.dataset.clips.paths[clip]) for process, clip in self.notes.tolist() if clip >= 0}


class ClipLoader(DataLoader):
    """A DataLoader of clips whose workers leave signals to the main process and use one thread each.

    Args:
        dataset: a dataset with `clips.paths`.
        watch: limits the time of a read in a worker, and names the file.
    """

    def __init__(self, dataset: Any, *, watch: ReadWatch | None = None, num_workers: int = 0, **settings: Any):
        if watch is not None and num_workers:
            dataset = _NotedClips(dataset, num_workers)
            watch.noted.append(dataset)
            settings["timeout"] = watch.timeout
        settings.setdefault("worker_init_fn", prepare_worker)
        super().__init__(dataset, num_workers=num_workers, **settings)

    def __iter__(self) -> Iterator[Any]:
        batches, before, noted = super().__iter__(), set(), cast("_NotedClips", self.dataset)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader timed out" not in str(error):
                    raise
                reads = noted.reads()
                if slow := reads & before:
                    raise _ReadTimeout(*(path for _, path in slow)) from None
                before = reads  # each clip of a large batch may take a while: wait for the next timeout
                continue
            before = set()
            yield batch


class ReadWatch:
    """Tracks the files that the workers of any number of loaders are reading.

    Args:
        timeout: seconds that reading one clip may take; 0 is no limit.
        option: the command-line option of the timeout, for error messages.
    """

    def __init__(self, timeout: float = READ_TIMEOUT, *, option: str = "--read-timeout"):
        self.timeout, self.option = timeout, option
        self.noted: list[_NotedClips] = []

    @contextmanager
    def guard(self, after: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Raise an error that names the file if a loader fails on one inside the block.

        Args:
            after: returns a sentence on what is kept and how to continue, called after a failure.

        Raises:
            RunError: reading a file timed out, or crashed the process that read it; all workers are ended.
        """
        before = {child.pid for child in multiprocessing.active_children()}
        try:
            yield
        except (_ReadTimeout, RuntimeError) as error:
            hung = isinstance(error, _ReadTimeout)
            reason = self._timeout_message(error.args) if hung else self._death_message(error)
            if reason is None:
                raise
            _end_workers(before)
            text = f"{reason} {after()}".strip()
            if not first_process():
                log.critical(text)  # only the first of several processes prints errors, and it does not know this one
            raise RunError(text) from None

    def _timeout_message(self, paths: Sequence[str]) -> str:
        files = ", ".join(f"{path} (more than {self.timeout:g} s)" for path in paths)
        return (
            f"reading timed out: {files}; the disk does not respond, or the decoder hangs. Repair the file, or replace "
            f"it with an empty one, which counts as unreadable; for a slow disk raise {self.option}."
        )

    def _death_message(self, error: RuntimeError) -> str | None:
        """Return the message on a worker that died while reading; None if this is another error."""
        text = f"{error} {error.__cause__ or error.__context__ or ''}"
        if not (found := _DEATH.search(text)):
            return None
        dead = set(map(int, found[1].split(",")))
        paths = [path for noted in self.noted for process, path in noted.reads() if process in dead]
        killed = _SIGNAL.search(text)
        if not paths or (killed and killed[1] == "Terminated"):  # everything is being stopped
            return None
        how = f" ({killed[1]})" if killed else ""
        return (
            f"{', '.join(paths)}: the process reading it died{how}: the decoder crashed, or memory ran out; fewer "
            "workers need less memory."
        )


def prepare_worker(worker_id: int) -> None:
    """Leave signals to the main process, which gets them too, and use one thread in a worker."""
    ignore_signals()
    torch.set_num_threads(1)


def _end_workers(before: set[int | None]) -> None:
    """Kill the workers started since `before`: a hanging one ignores every other signal."""
    workers = [child for child in multiprocessing.active_children() if child.daemon and child.pid not in before]
    quietly = handling(signal.SIGCHLD, signal.SIG_DFL) if hasattr(signal, "SIGCHLD") else nullcontext()
    with quietly:  # torch's handler would raise an error
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
