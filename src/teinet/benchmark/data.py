"""What loading a list of clips costs on this machine: a clip's stages, and the loader's rate by number of workers."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from teinet.benchmark.loading import Loading
from teinet.benchmark.stages import StageTimes, time_stages
from teinet.benchmark.throughput import Throughput, measure
from teinet.data.dataset import Unreadable
from teinet.data.lists.rows import ClipList, Row, to_clips
from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.video import index_cache
from teinet.data.video.reader import VideoReader
from teinet.data.watch import READ_TIMEOUT, ReadWatch
from teinet.errors import ConfigError, VideoError
from teinet.evaluation.evaluate import ClipScore
from teinet.evaluation.hardware import prepare_worker, quiet

_MANY = 50_000  # clips, the same ones again and again: more than any window reads
_STAGE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class LoaderReport:
    """What was measured.

    Args:
        source: the list.
        listed: clips in it.
        clips: those that were loaded, drawn at random.
        unreadable: path and reason of those that were drawn and cannot be read.
        kinds: codec and size of the clips, and how many there are of each.
        counting: median of the seconds that the first look at a file takes, when its frames are counted; None where
            all were counted before.
        measured: empty where no number of workers was asked for.
    """

    source: str
    listed: int
    clips: int
    unreadable: list[tuple[str, str]]
    kinds: dict[str, int]
    counting: float | None
    loading: Loading
    stages: StageTimes
    measured: list[Throughput]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "list": self.source,
            "listed": self.listed,
            "clips": self.clips,
            "unreadable": len(self.unreadable),
            "kinds": self.kinds,
            "loading": self.loading.to_dict(),
            "counting_ms": None if self.counting is None else round(1e3 * self.counting, 2),
            "stages_ms": {name: round(value, 3) for name, value in self.stages.milliseconds().items()},
            "loader": [t.to_dict(self.loading.frames_per_clip) for t in self.measured],
        }


@quiet()
def benchmark_loader(
    config: DataConfig,
    loading: Loading,
    *,
    workers: Sequence[int],
    clips: int = 128,
    seconds: float = 20.0,
    read_timeout: float = READ_TIMEOUT,
    say: Callable[[str], None] = lambda text: None,
) -> LoaderReport:
    """Measure; nothing is written but the counts of frames, which every command keeps.

    Args:
        config: the list.
        workers: numbers of them to measure.
        clips: how many clips of the list to load, drawn at random; the fewer, the more of them the system keeps in
            memory, and the less is measured of the disk.
        seconds: for each number of workers.
        say: is told what goes on.

    Raises:
        TeinetError: a list that cannot be used, no clip that can be read, a file on which reading hangs.
    """
    rows = read_config(config).rows
    if not rows:
        raise ConfigError(f"{config.path}: holds no clips")
    chosen = np.random.default_rng(0).permutation(len(rows))[:clips].tolist()
    watch = ReadWatch(read_timeout)
    with watch.guard():
        say("first look at the clips")
        looks = _look_at([rows[i] for i in chosen], loading, max(1, *workers), watch)
        good = [rows[chosen[look.number]] for look in looks if look.kind is not None]
        bad = [(rows[chosen[look.number]].path, look.reason) for look in looks if look.kind is None]
        if not good:
            raise ConfigError(f"{config.path}: none of {len(bad)} clips can be read, the first: {': '.join(bad[0])}")
        for row in good:
            len(VideoReader(row.path))  # the counts are in the memory of this process, and so of the workers
        say("stages of a clip")
        stages = time_stages(loading, _clips(good), seconds=min(seconds, _STAGE_SECONDS))
        endless = _clips(good * -(-_MANY // len(good)))
        measured = measure(loading, endless, workers, seconds=seconds, watch=watch, say=say)
    new = [look.seconds for look in looks if look.kind is not None and look.is_first]
    return LoaderReport(
        source=str(config.path),
        listed=len(rows),
        clips=len(good),
        unreadable=bad,
        kinds=dict(Counter(look.kind for look in looks if look.kind is not None).most_common()),
        counting=median(new) if new else None,
        loading=loading,
        stages=stages,
        measured=measured,
    )


class _Look(NamedTuple):
    number: int
    kind: str | None
    reason: str
    seconds: float
    is_first: bool


class _Looks(Dataset):
    """The first look at each clip: its facts, and whether it can be loaded."""

    def __init__(self, clips: ClipList, loading: Loading):
        self.clips, self.loading, self.data = clips, loading, loading.dataset(clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> _Look:
        path = self.clips.paths[number]
        try:
            is_first = os.path.isfile(path) and index_cache.get_disk(index_cache.key_of(path)) is None
            began = time.perf_counter()
            kind = _kind(VideoReader(path))
            seconds = time.perf_counter() - began
        except VideoError as error:
            return _Look(number, None, error.reason, 0.0, False)
        sample = self.data[self.loading.key(number)]
        if isinstance(sample, (Unreadable, ClipScore)):
            return _Look(number, None, sample.reason, seconds, is_first)
        return _Look(number, kind, "", seconds, is_first)


def _look_at(rows: Sequence[Row], loading: Loading, workers: int, watch: ReadWatch) -> list[_Look]:
    dataset = watch.over(_Looks(_clips(rows), loading), workers)
    # never in this process, where nothing could end a read that hangs
    loader = DataLoader(
        dataset, batch_size=1, num_workers=workers, collate_fn=lambda looks: looks[0], worker_init_fn=prepare_worker
    )
    return list(loader)


def _clips(rows: Sequence[Row]) -> ClipList:
    return to_clips(rows, source="")


def _kind(video: VideoReader) -> str:
    width, height = video.size
    return f"{video.codec} {width}x{height}"
