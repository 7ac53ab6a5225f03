"""Worker processes that can be killed: pebble's pool, with a timeout since a task's last heartbeat.

A video can hang or crash a decoder: `concurrent.futures` then waits forever, or drops all tasks; here the others
continue. pebble's own timeout covers a whole task, however long its video, so tasks without heartbeats are canceled
here.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any, Generic, Literal, TypeVar

from teinet.errors import RunError
from teinet.utils.signals import handling

Task = TypeVar("Task")
Value = TypeVar("Value")
Beat = Callable[[], None]
Work = Callable[[Task, Beat], Value]

_TURN_SECONDS = 0.1
_GRACE_SECONDS = 1.0  # in which a task in this process may still be done after a signal
_RESTARTS = 3  # of the pool, with no result in between


@dataclass(frozen=True)
class TaskFailure:
    """The failure of a task: its process stopped sending heartbeats (stuck), or ended (died)."""

    kind: Literal["stuck", "died"]
    reason: str


@dataclass(frozen=True)
class Done(Generic[Task, Value]):
    """A task and its result."""

    task: Task
    value: Value | TaskFailure


def run(
    work: Work[Task, Value], tasks: Iterable[Task], *, workers: int, timeout: float, stop: threading.Event | None = None
) -> Iterator[Done[Task, Value]]:
    """Run all tasks in worker processes, and yield their results as they finish.

    Args:
        work: takes a task and a function to call as a heartbeat. The function, tasks and results must be picklable.
        workers: number of processes; 0 works in this one, without a timeout.
        timeout: seconds without a heartbeat after which a task is `TaskFailure`.
        stop: once it is set no more results come, and the processes are ended; in this process, a long task at a
            heartbeat.

    Raises:
        Exception: raised by `work`, of any type; the processes are ended.
        RunError: the processes cannot be started.
    """
    stop, waiting = stop or threading.Event(), list(tasks)[::-1]
    if workers == 0:
        while waiting and not stop.is_set():
            task = waiting.pop()
            try:
                yield Done(task, work(task, _stopping(stop)))
            except _Stopped:
                return
        return
    from pebble import ProcessExpired, ProcessPool

    context = _context(work)
    slots = list(range(2 * workers))  # no worker waits for this process
    beats = context.RawArray("d", len(slots))  # the time of the last heartbeat of each slot's task

    def started() -> ProcessPool:
        return ProcessPool(
            min(workers, len(waiting)), initializer=_prepare, initargs=(work, beats, dict(os.environ)), context=context
        )

    pool, restarts = started(), 0
    running: dict[Future, tuple[int, Task]] = {}
    before = awake = time.monotonic()
    try:
        while (waiting or running) and not stop.is_set():
            while waiting and slots:
                slot, task = slots.pop(), waiting.pop()
                beats[slot] = 0.0
                running[pool.schedule(_do, (slot, task))] = slot, task
            finished = wait(running, _TURN_SECONDS, FIRST_COMPLETED).done
            now = time.monotonic()
            if now - before > 1 + _TURN_SECONDS:  # all processes stood still: Ctrl-Z
                awake = now
            before = now
            for future, (slot, _) in running.items():
                if future.running():
                    beats[slot] = beats[slot] or now
                    if now - max(beats[slot], awake) > timeout:
                        future.cancel()
            broken = None
            for future in finished:
                slot, task = running.pop(future)
                slots.append(slot)
                try:
                    value = future.result()
                except CancelledError:
                    value = TaskFailure("stuck", f"stuck: no new frame within {timeout:g} s")
                except ProcessExpired as error:
                    value = TaskFailure("died", _exit_reason(error.exitcode))
                except BrokenProcessPool as error:
                    broken = error
                    waiting.append(task)
                    continue
                restarts = 0
                yield Done(task, value)
            if broken is not None:  # also when a worker dies before pebble knows what it was given
                if restarts == _RESTARTS:
                    said = f"the processes that read videos cannot be started ({broken})"
                    raise RunError(f"{said}; memory may be full: use fewer --workers") from broken
                pool.join()
                pool, restarts = started(), restarts + 1
    finally:
        pool.stop()
        pool.join()


class _Stopped(BaseException):
    """Raised by a heartbeat in this process; not an Exception, so that `work` does not take it for its own."""


def _stopping(stop: threading.Event) -> Beat:
    """Return a heartbeat for work in this process: some time after `stop` is set, it ends the task."""
    since: float | None = None

    def beat() -> None:
        nonlocal since
        if stop.is_set():
            since = since or time.monotonic()
            if time.monotonic() - since > _GRACE_SECONDS:
                raise _Stopped

    return beat


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _exit_reason(code: int) -> str:
    how = f"code {code}" if code >= 0 else f"signal {-code}"
    with suppress(ValueError):
        how = signal.Signals(-code).name
    return f"the process reading it was ended by {how}: the decoder crashed or memory ran out"


_own: dict[str, Any] = {}  # of a worker: its `work` and `beats`, and the `beat` of its task


def still_working() -> None:
    """Count the task of this process as alive: for what takes long without frames, such as a download."""
    if (beat := _own.get("beat")) is not None:
        beat()


@contextmanager
def watched(beat: Beat) -> Iterator[None]:
    """Let `still_working` call this heartbeat inside the block, in all threads."""
    before, _own["beat"] = _own.get("beat"), beat
    try:
        yield
    finally:
        _own["beat"] = before


def _prepare(work: Work, beats: Any, environment: dict[str, str]) -> None:
    """Run in a worker, once; its environment is that of the process that forks, which may have begun long ago."""
    os.environ |= environment
    _own.update(work=work, beats=beats)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(slot: int, task: Any) -> Any:
    """Run in a worker, for each task."""

    def beat() -> None:
        _own["beats"][slot] = time.monotonic()

    beat()
    try:
        leave = handling(signal.SIGTERM, lambda *_: sys.exit(1))  # leaves `with` blocks: they remove partial files
        with watched(beat), leave:
            return _own["work"](task, beat)
    except SystemExit:  # pebble would send it as an answer
        os._exit(1)


def _end_with_parent() -> None:
    """End this worker when its parent ends, even if it hangs, as when the command is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _context(work: Work) -> Any:
    """Return the context to start processes by: never by forking this one, whose threads may hold locks."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # One process imports torch and av, once, and is forked: a replacement is there at once.
    context.set_forkserver_preload([getattr(work, "func", work).__module__])
    with handling(signal.SIGINT, signal.SIG_IGN):  # Ctrl-C reaches all processes of a terminal; this one decides
        forkserver.ensure_running()
    return context
