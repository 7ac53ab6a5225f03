"""Progress bars: count and total, speed, time left; on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from teinet.utils.text import duration

_RECENT_SECONDS = 30.0  # over which the speed is measured
_MAX_MARKS = 30

Advance = Callable[[str], None]


class ProgressTask:
    """One bar; `ProgressBars.task` makes it."""

    def __init__(self, bars: Progress, title: str, total: float | None, done: float, unit: str | None):
        self._bars, self._total, self._unit = bars, total, unit
        self._done = done
        self._marks = deque([(time.monotonic(), done)], maxlen=_MAX_MARKS)
        self._task = bars.add_task(escape(title), total=total, facts="")
        self._removed = False
        self.update(done)

    def update(self, done: float, *, total: float | None = None, facts: str = "") -> None:
        """Say how much is done, `total` where it has become known, and what else there is to say."""
        if self._removed:
            return
        now = time.monotonic()
        self._done, self._total = done, self._total if total is None else total
        then, before = self._marks[0]
        if now - self._marks[-1][0] >= _RECENT_SECONDS / _MAX_MARKS:
            self._marks.append((now, done))
        rate = (done - before) / max(now - then, 1e-6) if done > before else None
        text = "  ".join(part for part in (self._progress(), self._speed(rate), facts) if part)
        self._bars.update(self._task, completed=done, total=self._total, facts=text)

    def advance(self, facts: str = "", *, by: float = 1) -> None:
        """Say that one more, or `by` more, is done."""
        self.update(self._done + by, facts=facts)

    def remove(self) -> None:
        """Take the bar away; later updates are ignored."""
        if not self._removed:
            self._removed = True
            self._bars.remove_task(self._task)

    def _progress(self) -> str:
        if self._unit == "s":
            return f"{self._done:.0f} s"
        return f"{self._done:.0f}/{self._total:.0f}" if self._total is not None else f"{self._done:.0f}"

    def _speed(self, rate: float | None) -> str:
        if rate is None or self._unit is None:
            return ""
        speed = f"{rate:.1f} times real time" if self._unit == "s" else f"{rate:.3g} {self._unit}/s"
        if self._total is None:
            return speed
        return f"{speed}  {duration(max(self._total - self._done, 0) / rate)} left"


class ProgressBars:
    """A context manager that shows any number of bars.

    Args:
        console: where; nothing is shown where it is no terminal, or None.
    """

    def __init__(self, console: Console | None):
        shown = console is not None and console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
            transient=True,
            disable=not shown,
            redirect_stdout=sys.stdout.isatty(),  # what is printed meanwhile goes above the bars, but not from a pipe
        )

    def __enter__(self) -> ProgressBars:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Show the bars from now on."""
        self._bars.start()

    def stop(self) -> None:
        """Clear them from the terminal."""
        self._bars.stop()

    def task(
        self, title: str, total: float | None = None, *, done: float = 0, unit: str | None = "files"
    ) -> ProgressTask:
        """Add a bar.

        Args:
            title: what is being done, or on what.
            total: how much there is in all; None where it is not known yet.
            done: what an earlier command has done already; it does not count for the speed.
            unit: what is counted; "s" for the seconds of a recording, whose speed is told against real time; None
                tells neither speed nor time left.
        """
        return ProgressTask(self._bars, title, total, done, unit)


@contextmanager
def file_progress(
    console: Console | None, title: str, total: int, *, done: int = 0, unit: str = "files"
) -> Iterator[Advance]:
    """Show one bar inside the block; give a function to call after each file, with what else there is to say."""
    with ProgressBars(console) as bars:
        yield bars.task(title, total, done=done, unit=unit).advance
