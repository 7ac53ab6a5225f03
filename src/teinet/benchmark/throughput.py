"""How many clips a second a loader gives, by the number of its workers, with no network behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from teinet.benchmark.loading import Counted, Loading
from teinet.data.lists.rows import ClipList
from teinet.data.watch import ReadWatch
from teinet.utils.worker_pool import usable_cores

ROUNDS = 5


class Spread(NamedTuple):
    """Of the same measurement, made several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Window:
    """One measurement."""

    clips: int
    seconds: float
    bytes_read: int
    bytes_from_disk: int


@dataclass(frozen=True)
class Throughput:
    """What a number of workers gave in several windows; 0 workers: the main process reads itself."""

    workers: int
    windows: tuple[Window, ...]

    @property
    def clips_per_second(self) -> Spread:
        return Spread.of([w.clips / w.seconds for w in self.windows])

    @property
    def megabytes_per_second(self) -> float:
        """Read from files, whether they lay on the disk or in the system's memory; nan where nobody counts."""
        rates = [w.bytes_read / w.seconds / 1e6 for w in self.windows]
        return median(rates) if any(rates) else float("nan")

    @property
    def disk_share(self) -> float:
        """Of the bytes read, those that came from a disk."""
        total = sum(w.bytes_read for w in self.windows)
        return min(1.0, sum(w.bytes_from_disk for w in self.windows) / total) if total else float("nan")

    def to_dict(self, frames_per_clip: int) -> dict[str, Any]:
        """Plain values for JSON."""
        clips = self.clips_per_second
        known = any(w.bytes_read for w in self.windows)
        return {
            "workers": self.workers,
            "clips_per_second": {name: round(value, 3) for name, value in clips._asdict().items()},
            "frames_per_second": round(clips.median * frames_per_clip, 2),
            "megabytes_per_second": round(self.megabytes_per_second, 3) if known else None,
            "disk_share": round(self.disk_share, 4) if known else None,
            "windows": [[w.clips, round(w.seconds, 3)] for w in self.windows],
        }


def measure(
    loading: Loading,
    clips: ClipList,
    workers: Sequence[int],
    *,
    seconds: float,
    watch: ReadWatch,
    say: Callable[[str], None] = lambda text: None,
) -> list[Throughput]:
    """Measure each number of workers in several windows, in turns, there and back, so that drift hits all alike.

    Args:
        clips: more than can be read in a window; all readable.
        seconds: for each number of workers, in all its windows.
        say: is told what goes on.

    Raises:
        RunError: reading a clip does not end; see `ReadWatch`.
    """
    windows: dict[int, list[Window]] = {number: [] for number in workers}
    for turn in range(ROUNDS):
        for number in workers if turn % 2 == 0 else reversed(workers):
            say(f"round {turn + 1} of {ROUNDS}: {number} workers")
            windows[number].append(_window(loading, clips, number, seconds / ROUNDS, watch))
    return [Throughput(number, tuple(found)) for number, found in windows.items()]


def _window(loading: Loading, clips: ClipList, workers: int, seconds: float, watch: ReadWatch) -> Window:
    counted = Counted(loading.dataset(clips), workers, loading)
    batches = iter(loading.loader(counted, workers, watch))
    next(batches)  # now all workers are at work
    before, began = counted.rows.sum(0), time.perf_counter()
    while time.perf_counter() - began < seconds and next(batches, None) is not None:
        pass
    # Counted are clips, not batches, which come in bursts of as many as there are workers.
    after, took = counted.rows.sum(0), time.perf_counter() - began
    counted.over.fill_(1)
    del batches  # the workers end with their loader
    return Window(int(after[0] - before[0]), took, int(after[1] - before[1]), int(after[2] - before[2]))


def usual_workers() -> list[int]:
    """What to measure on this machine: 0, 1, 2, 4, ... up to all cores."""
    cores = usable_cores()
    return sorted({0, cores, *(2**i for i in range(cores.bit_length()))})


def enough(measured: Sequence[Throughput], clips_per_second: float) -> Throughput | None:
    """The smallest number of workers whose median rate feeds a network that takes so many clips a second."""
    fast = [t for t in measured if t.clips_per_second.median >= clips_per_second]
    return min(fast, key=lambda t: t.workers) if fast else None
