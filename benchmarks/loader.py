"""Measures loading clips, with no network behind it: python -m benchmarks.loader LIST [LIST ...]

For each list: how many clips a second the loader gives by number of workers, in windows that take turns, there and
back; and which functions of the library take how long in one process. Writes results/loader-MACHINE.json. Let nothing
else run meanwhile.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.naming import machine_name
from teinet.data.dataset import Draw, TrainingClips, Unreadable, collate, prepare_worker, seed_of
from teinet.data.lists.rows import ClipList, to_clips
from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.evaluation.evaluate import ClipScore, ViewClips, collate_views
from teinet.evaluation.speed import Timing
from teinet.utils.machine import machine
from teinet.utils.worker_pool import usable_cores

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5
SHOWN = 10  # functions


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How clips are loaded: as a test loads its `views`, or, without any, as training does."""

    sampling: Sampling
    preprocessing: Preprocessing
    views: Views | None
    batch_size: int

    def dataset(self, clips: ClipList) -> TrainingClips | ViewClips:
        if self.views is None:
            return TrainingClips(clips, self.sampling, self.preprocessing, Augmentation())
        return ViewClips(clips, self.sampling, self.preprocessing, self.views)

    def key(self, index: int) -> Draw | int:
        """What to ask the data set for, to get this clip."""
        return index if self.views else Draw(index, seed_of(0, index))

    def collate(self, samples: Sequence[Any]) -> Any:
        return collate_views(samples) if self.views else collate(samples)


class Counted(Dataset):
    """The same clips again and again, counted in shared memory; none any more once `over` is set."""

    def __init__(self, loading: Loading, clips: ClipList, workers: int):
        self.loading, self.dataset, self.number = loading, loading.dataset(clips), len(clips)
        self.done = torch.zeros(max(1, workers), dtype=torch.int64).share_memory_()
        self.over = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return 1_000_000  # more than any window reads

    def __getitem__(self, index: int) -> Any:
        if self.over.item():  # so that workers that read ahead end at once
            return ClipScore(index, None) if self.loading.views else Unreadable(index, "", "")
        sample = self.dataset[self.loading.key(index % self.number)]
        worker = torch.utils.data.get_worker_info()
        self.done[worker.id if worker else 0] += 1
        return sample


def window(loading: Loading, clips: ClipList, workers: int, seconds: float) -> float:
    """Clips a second of a loader, after its first batch."""
    counted = Counted(loading, clips, workers)
    batches = iter(
        DataLoader(
            counted,
            batch_size=loading.batch_size,
            num_workers=workers,
            collate_fn=loading.collate,
            worker_init_fn=prepare_worker,
        )
    )
    next(batches)  # now all workers are at work
    before, began = int(counted.done.sum()), time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
    # clips are counted, not batches, which come in bursts of as many as there are workers
    rate = (int(counted.done.sum()) - before) / (time.perf_counter() - began)
    counted.over.fill_(1)
    return rate


def rates(loading: Loading, clips: ClipList, workers: Sequence[int], seconds: float) -> dict[int, Timing]:
    """Clips a second by number of workers."""
    found: dict[int, list[float]] = {number: [] for number in workers}
    for turn in range(ROUNDS):
        for number in workers if turn % 2 == 0 else workers[::-1]:
            found[number].append(window(loading, clips, number, seconds / ROUNDS))
    return {number: Timing.of(values) for number, values in found.items()}


def profile(loading: Loading, clips: ClipList, count: int = 32) -> dict[str, float]:
    """Milliseconds a clip in the library's own functions with all that they call, the longest first; one thread."""
    data, profiler, threads = loading.dataset(clips), cProfile.Profile(), torch.get_num_threads()
    keys = [loading.key(index) for index in range(min(count, len(clips)))]
    torch.set_num_threads(1)
    with profiler:
        loading.collate([data[key] for key in keys])
    torch.set_num_threads(threads)
    times = {
        f"{Path(file).stem}.{name}": 1e3 * entry[3] / len(keys)
        for (file, _, name), entry in pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
        if "teinet" in Path(file).parts
    }
    return dict(sorted(times.items(), key=lambda pair: -pair[1])[:SHOWN])


def measure(path: str, loading: Loading, workers: Sequence[int], *, clips: int, seconds: float) -> dict[str, Any]:
    """All of one list, as JSON values.

    Raises:
        SystemExit: not one of its clips can be read.
    """
    rows = read_config(DataConfig(path=path)).rows
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:clips]]
    data = loading.dataset(to_clips(chosen, source=path))
    good = [  # a first look at each, which also counts its frames
        row for index, row in enumerate(chosen) if not isinstance(data[loading.key(index)], (Unreadable, ClipScore))
    ]
    if not good:
        raise SystemExit(f"{path}: none of {len(chosen)} clips can be read")
    listed = to_clips(good, source=path)
    return {
        "list": path,
        "clips": len(good),
        "unreadable": len(chosen) - len(good),
        "views": str(loading.views or "train"),
        "num_frames": loading.sampling.num_frames,
        "size": loading.preprocessing.size,
        "batch_size": loading.batch_size,
        "milliseconds_a_clip": {name: round(value, 2) for name, value in profile(loading, listed).items()},
        "clips_per_second": {n: spread._asdict() for n, spread in rates(loading, listed, workers, seconds).items()},
    }


def usual_workers() -> list[int]:
    """0, 1, 2, 4, ... up to all cores."""
    cores = usable_cores()
    return sorted({0, cores, *(2**i for i in range(cores.bit_length()))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="+", help="folders of class folders, or lists of clips")
    parser.add_argument("--views", nargs="+", default=["train"], help="train, 1x1, 10x3 (default: train)")
    parser.add_argument("--workers", type=int, nargs="+", default=None, help="default: 0, 1, 2, 4, ... up to the cores")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--clips", type=int, default=128, help="of each list, drawn at random; readable or not")
    parser.add_argument("--seconds", type=float, default=30, help="for each number of workers")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    results = []
    for path in args.lists:
        for views in args.views:
            loading = Loading(
                sampling=Sampling(num_frames=args.frames),
                preprocessing=Preprocessing(size=args.size, short_side=round(args.size * 256 / 224)),
                views=None if views == "train" else Views.parse(views),
                batch_size=args.batch_size,
            )
            workers = args.workers or usual_workers()
            results.append(measure(path, loading, workers, clips=args.clips, seconds=args.seconds))
            print(json.dumps(results[-1], indent=2), flush=True)
    facts = machine()
    target = args.output / f"loader-{machine_name(facts)}.json"
    target.write_text(json.dumps({"machine": facts, "results": results}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
