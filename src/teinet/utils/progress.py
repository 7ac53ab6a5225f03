"""Progress bars with count and total, speed and time left; shown on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from teinet.utils.text import duration

Advance = Callable[[str], None]


class _Facts(ProgressColumn):
    """The count, speed, time left and extra facts of a bar."""

    def render(self, task: Task) -> Text:
        unit, speed, left = task.fields["unit"], task.speed, task.time_remaining
        texts = [f"{task.completed:.0f}" + (f"/{task.total:.0f}" if task.total is not None else "")]
        if unit == "s":
            texts = [f"{task.completed:.0f} s"]
        if unit and speed:
            texts.append(f"{speed:.1f} times real time" if unit == "s" else f"{speed:.3g} {unit}/s")
            texts += [f"{duration(left)} left"] if left is not None else []
        return Text("  ".join([*texts, task.fields["facts"]]).rstrip())


class ProgressTask:
    """One bar; `ProgressBars.task` makes it."""

    def __init__(self, bars: Progress, task: TaskID):
        self._bars, self._task = bars, task

    def update(self, done: float, *, total: float | None = None, facts: str = "") -> None:
        """Set how much is done, the total once it is known, and a text to show behind the bar."""
        with suppress(KeyError):  # its bar was removed
            self._bars.update(self._task, completed=done, total=total, facts=facts)

    def advance(self, facts: str = "", *, by: float = 1) -> None:
        """Count one more, or `by` more, as done."""
        with suppress(KeyError):
            self._bars.update(self._task, advance=by, facts=facts)

    def remove(self) -> None:
        """Remove the bar; later updates are ignored."""
        with suppress(KeyError):
            self._bars.remove_task(self._task)


class ProgressBars(Progress):
    """A context manager that shows any number of bars, on a terminal only; or call `start` and `stop`."""

    def __init__(self, console: Console | None):
        if console is None or not console.is_terminal:
            console = Console(quiet=True)  # rich before 15 ends even disabled bars with an empty line
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            _Facts(),
            console=console,
            transient=True,
            disable=console.quiet,
            redirect_stdout=sys.stdout.isatty(),  # what is printed meanwhile goes above the bars, but not from a pipe
        )

    def task(self, name: str, total: float | None = None, *, done: int = 0, unit: str | None = "files") -> ProgressTask:
        """Add a bar.

        Args:
            total: None if it is not known yet.
            done: the part that an earlier command finished; it does not count toward the speed.
            unit: what is counted; "s" for the seconds of a recording, with the speed relative to real time; None shows
                neither speed nor time left.
        """
        return ProgressTask(self, self.add_task(escape(name), total=total, completed=done, facts="", unit=unit))


@contextmanager
def file_progress(
    console: Console | None, title: str, total: int, *, done: int = 0, unit: str = "files"
) -> Iterator[Advance]:
    """Show one bar inside the block; yield a function to call after each file, with a text to show behind the bar."""
    with ProgressBars(console) as bars:
        yield bars.task(title, total, done=done, unit=unit).advance
