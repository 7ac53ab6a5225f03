"""All cells of studies, several at once, each in a process of its own; what is done stays done."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.study.cell import Where, run_folder
from benchmarks.study.plan import Cell, Study
from benchmarks.study.results import read_result
from teinet.errors import Interrupted
from teinet.training.run_dir import LOG, read_log
from teinet.utils.text import percent

ROOT = Path(__file__).parents[2]  # the folder of `benchmarks`
_POLL = 0.5  # seconds
_PATIENCE = 60  # seconds that a cell has to save its state before it is killed


@dataclass
class _Running:
    study: Study
    cell: Cell
    process: subprocess.Popen
    task: TaskID
    folder: Path
    began: float


def pending(studies: Sequence[Study], results: str | Path) -> list[tuple[Study, Cell]]:
    """The cells that are not done, in the order of work.

    Raises:
        ConfigError: a file of results that is none.
    """
    return [(s, cell) for s in studies for cell in s.cells() if read_result(s, cell, results) is None]


def run_cells(
    todo: Sequence[tuple[Study, Cell]], where: Where, *, jobs: int = 1, console: Console
) -> list[tuple[Cell, str]]:
    """Run cells, at most `jobs` at a time, and show how far they are.

    Args:
        todo: cells of studies, in the order of work.
        where: folders, threads.
        jobs: processes at a time, at least 1.
        console: shows the progress; a line for each cell that ends.

    Returns:
        The cells that failed, each with the last line of its output; the others continued.

    Raises:
        ConfigError: a cell whose settings do not fit; before any is run.
        Interrupted: Ctrl-C; each cell kept its state.
    """
    epochs = {(s.name, c): s.recipe_of(c).optim.epochs for s, c in todo}
    waiting, running, failed = deque(todo), [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:g}/{task.total:g}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        overall = progress.add_task("cells", total=len(todo))
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    study, cell = waiting.popleft()
                    if read_result(study, cell, where.results) is not None:  # meanwhile: the same cell of another study
                        progress.advance(overall)
                        continue
                    running.append(_begin(study, cell, where, progress, epochs))
                time.sleep(_POLL)
                for one in list(running):
                    progress.update(one.task, completed=len(read_log(one.folder / LOG)))
                    if one.process.poll() is None:
                        continue
                    running.remove(one)
                    progress.remove_task(one.task)
                    progress.advance(overall)
                    if one.process.returncode:
                        reason = _last_line(one.folder)
                        failed.append((one.cell, reason))
                        progress.console.print(f"[red]failed[/red]  {one.study.name} {one.cell}: {reason}")
                        continue
                    _say_done(progress.console, one, where.results)
        except KeyboardInterrupt:
            _stop(running)
            finished = len(todo) - len(waiting) - len(running) - len(failed)
            raise Interrupted(
                f"stopped with {finished} of {len(todo)} cells done; the same command continues"
            ) from None
        except BaseException:  # the cells are sessions of their own, and would continue alone
            _stop(running)
            raise
    return failed


def _begin(study: Study, cell: Cell, where: Where, progress: Progress, epochs: dict) -> _Running:
    folder = run_folder(where.work, study, cell)
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.study", "cell", study.address, str(cell), *where.words()]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
    if where.threads:
        environment["OMP_NUM_THREADS"] = str(where.threads)
    with _log_of(folder).open("w") as log:
        # a session of its own: Ctrl-C reaches this process alone, which tells the cells
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    task = progress.add_task(f"{study.name} {cell}", total=epochs[study.name, cell])
    return _Running(study, cell, process, task, folder, time.monotonic())


def _log_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".log")


def _last_line(folder: Path) -> str:
    lines = _log_of(folder).read_text(errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'it said nothing'} ({_log_of(folder)})"


def _say_done(console: Console, one: _Running, results: str) -> None:
    result = read_result(one.study, one.cell, results)
    top1 = percent(result["test"]["top1"] if result else math.nan)
    minutes = (time.monotonic() - one.began) / 60
    console.print(f"{top1:>7}  {one.study.name} {one.cell}  {minutes:.1f} min", highlight=False)


def _stop(running: Sequence[_Running]) -> None:
    for one in running:
        one.process.terminate()  # SIGINT is deaf in what a shell began in the background
    for one in running:
        try:
            one.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            one.process.kill()
