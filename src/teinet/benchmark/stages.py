"""Where the time of loading a clip goes: its stages, timed from outside while one process loads as a worker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from teinet.benchmark.loading import Loading
from teinet.data import dataset, views
from teinet.data.lists.rows import ClipList
from teinet.data.video import image_folder
from teinet.data.video import reader as decode
from teinet.data.video.pixels import Converter

OPEN, DECODE, CONVERT, RESIZE, COLLATE, OTHER = STAGES = (
    "open + index",
    "decode",
    "convert to RGB",
    "crop + resize",
    "collate",
    "other",
)


@dataclass
class StageTimes:
    """Seconds by stage, of so many clips. Pictures in folders are converted as they are decoded."""

    clips: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def milliseconds(self) -> dict[str, float]:
        """A clip's, by stage."""
        return {name: 1e3 * seconds / max(self.clips, 1) for name, seconds in self.seconds.items()}


class _Clock:
    """Gives each moment to the innermost stage that is running."""

    def __init__(self, seconds: dict[str, float]):
        self.seconds = seconds
        self._running = [OTHER]
        self._mark = time.perf_counter()

    def _settle(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._mark
        self._mark = now

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._settle()
        self._running.append(stage)
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def timed(self, function: Callable, stage: str) -> Callable:
        def call(*args: Any, **settings: Any) -> Any:
            with self(stage):
                return function(*args, **settings)

        return call

    def entered(self, manager: Callable, stage: str) -> Callable:
        """Times only the way into a context manager."""

        @contextmanager
        def call(*args: Any, **settings: Any) -> Iterator[Any]:
            with ExitStack() as stack:
                with self(stage):
                    value = stack.enter_context(manager(*args, **settings))
                yield value

        return call


def time_stages(loading: Loading, clips: ClipList, *, seconds: float) -> StageTimes:
    """Load batch after batch in this process, on one thread, for about so long or until each clip was loaded once.

    Args:
        clips: readable; that their frames are counted already is not part of the times.
    """
    times = StageTimes()
    data = loading.dataset(clips)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _watched(times.seconds) as clock:
            began = time.perf_counter()
            for first in range(0, len(clips), loading.batch_size):
                batch = range(len(clips))[first : first + loading.batch_size]
                samples = [data[loading.key(index)] for index in batch]
                with clock(COLLATE):
                    loading.collate(samples)
                times.clips += len(samples)
                if time.perf_counter() - began > seconds:
                    break
    finally:
        torch.set_num_threads(threads)
    return times


@contextmanager
def _watched(seconds: dict[str, float]) -> Iterator[_Clock]:
    """Put a clock around the functions that make a clip, inside the block."""
    clock = _Clock(seconds)
    places = [
        (decode, "frame_index", clock.timed, OPEN),
        (decode, "open_video", clock.entered, OPEN),
        (image_folder, "image_names", clock.timed, OPEN),
        (decode.VideoReader, "sample", clock.timed, DECODE),
        (Converter, "__call__", clock.timed, CONVERT),
        (dataset, "train_clip", clock.timed, RESIZE),
        (views, "test_crops", clock.timed, RESIZE),
    ]
    before = [getattr(home, name) for home, name, _, _ in places]
    try:
        for (home, name, wrap, stage), function in zip(places, before):
            setattr(home, name, wrap(function, stage))
        yield clock
    finally:
        for (home, name, _, _), function in zip(places, before):
            setattr(home, name, function)
        clock._settle()
