"""How far work on many files is, before a person's eyes: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[str], None]


@contextmanager
def file_progress(console: Console, title: str, total: int, *, done: int = 0, unit: str = "files") -> Iterator[Advance]:
    """Show a bar with files a second and the time left; give a function to call after each file.

    Args:
        console: where; nothing is shown where it is no terminal.
        title: what is being done.
        total: files in all.
        done: those that an earlier command has done already; they count neither for the speed nor for the time left.
        unit: what is counted.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left  {task.fields[facts]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=120,
    )
    began, count = time.monotonic(), 0
    with bar:
        task = bar.add_task(title, total=total, completed=done, speed="", facts="")

        def advance(facts: str = "") -> None:
            """`facts`: what else there is to say, such as how many are broken."""
            nonlocal count
            count += 1
            rate = count / max(time.monotonic() - began, 1e-3)
            bar.update(task, advance=1, speed=f"{rate:.3g} {unit}/s", facts=facts)

        yield advance
