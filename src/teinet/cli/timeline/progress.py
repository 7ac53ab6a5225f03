"""How far each recording is, on a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.utils.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


_RECENT = 30  # seconds over which the speed is measured: what goes on passes faster over what is known


class Progress:
    """Is told the second reached in each recording; shows nothing by itself."""

    def reached(self, number: int, second: float) -> None:
        """A recording has come this far."""

    def ended(self, number: int) -> None:
        """Nothing more comes of a recording."""


@contextmanager
def shown(videos: Sequence[Path]) -> Iterator[Progress]:
    """What is told the progress; on a terminal it shows it, and the speed against real time."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    # what is printed meanwhile goes above the bars, but not from a pipe onto the terminal
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
        yield _Shown(videos, bars)


class _Shown(Progress):
    def __init__(self, videos: Sequence[Path], bars: Bars):
        self._videos, self._bars = videos, bars
        self._reached: dict[int, Callable[[float], None]] = {}
        self._tasks: dict[int, int] = {}

    def reached(self, number: int, second: float) -> None:
        if number not in self._reached:
            self._reached[number] = self._begin(number, second)
        self._reached[number](second)

    def ended(self, number: int) -> None:
        if number in self._tasks:
            self._bars.remove_task(self._tasks.pop(number))

    def _begin(self, number: int, first: float) -> Callable[[float], None]:
        from teinet.data.video.play import promised_length

        video = self._videos[number]
        task = self._bars.add_task(printable(video.name), total=promised_length(video), speed="")
        self._tasks[number] = task
        recent = deque([(time.monotonic(), first)], maxlen=_RECENT)

        def show(second: float) -> None:
            if number in self._tasks:
                now = time.monotonic()
                then, before = recent[0]
                if now - recent[-1][0] >= 1:
                    recent.append((now, second))
                speed = (second - before) / max(now - then, 1e-6)
                self._bars.update(task, completed=second, speed=f"{second:.0f} s, {speed:.1f} times real time")

        return show
