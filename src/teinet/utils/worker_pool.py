"""Processes that can be killed: each does one task at a time, and is replaced when it gives no sign of life, or dies.

A video can hang or crash a decoder, beyond what Python can catch. `concurrent.futures` waits for such a process for
ever, or gives up all of them; here the task is named and the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, TypeVar

from teinet.errors import RunError

Task = TypeVar("Task")
Value = TypeVar("Value")
Beat = Callable[[], None]
Work = Callable[[Task, Beat], Value]

_START_SECONDS = 300  # to import a library from a busy network drive
_TURN_SECONDS = 0.1
_GRACE_SECONDS = 2


@dataclass(frozen=True)
class Lost:
    """A task without an answer: its process gave no sign of life (stuck), or ended (died)."""

    kind: Literal["stuck", "died"]
    reason: str


@dataclass(frozen=True)
class Done(Generic[Task, Value]):
    """A task and its answer."""

    task: Task
    value: Value | Lost


def run(
    work: Work[Task, Value],
    tasks: Iterable[Task],
    *,
    workers: int,
    timeout: float,
    stop: threading.Event | None = None,
) -> Iterator[Done[Task, Value]]:
    """Do all tasks in processes of their own, and yield their answers as they come.

    Args:
        work: is given a task and a function to call whenever it has come a little further. It, tasks and answers can be
            pickled.
        tasks: what to do.
        workers: number of processes; 0 works in this one, without a limit of time.
        timeout: seconds without a sign of life after which a task is `Lost`.
        stop: once it is set no more answers come, and the processes are ended.

    Raises:
        Exception: what `work` raised, of any type; the processes are ended.
        RunError: the processes cannot be started.
    """
    stop = stop or threading.Event()
    waiting = deque(tasks)
    if workers == 0:
        while waiting and not stop.is_set():
            task = waiting.popleft()
            yield Done(task, work(task, lambda: None))
        return
    context = _context()
    crew: list[_Worker] = []
    try:
        for _ in range(min(workers, len(waiting))):
            crew.append(_Worker(context, work, timeout))
        before = time.monotonic()
        while crew and not stop.is_set():
            heard = wait([worker.pipe for worker in crew], _TURN_SECONDS)
            now = time.monotonic()
            pause, before = now - before, now
            if pause > 1 + _TURN_SECONDS:  # this process itself stood still: Ctrl-Z, or a slow reader of the answers
                for worker in crew:
                    worker.deadline += pause
            for worker in list(crew):
                done = worker.listen() if worker.pipe in heard else worker.overdue(now)
                if worker.idle and waiting:
                    worker.give(waiting.popleft())
                elif worker.idle or worker.lost:
                    crew.remove(worker)
                    worker.end()
                    if worker.lost and waiting:
                        crew.append(_Worker(context, work, timeout))
                if done is not None:
                    yield done
    finally:
        for worker in crew:  # all are asked before any is waited for
            worker.process.terminate()
        for worker in crew:
            worker.end()


class _Worker:
    """One process, and what it is doing."""

    def __init__(self, context: Any, work: Work, timeout: float):
        self.timeout = timeout
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, min(1.0, timeout / 4)), daemon=True)
        with _deaf_to_ctrl_c() if context.get_start_method() == "spawn" else nullcontext():
            self.process.start()
        theirs.close()  # so that the end of the process ends the pipe
        self.task: Any = None
        self.idle = self.ready = self.lost = False
        self.deadline = time.monotonic() + _START_SECONDS

    def give(self, task: Any) -> None:
        self.task, self.idle, self.deadline = task, False, time.monotonic() + self.timeout
        try:
            self.pipe.send(task)
        except OSError:
            pass  # it has died: the next look at the pipe finds out

    def listen(self) -> Done | None:
        """Take one message; an answer or a death is returned, an exception raised."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            return self._dead()
        if kind == "raised":
            error, where = value
            error.add_note(where)
            raise error
        self.deadline = time.monotonic() + self.timeout
        if kind == "beat":
            return None
        self.ready = self.idle = True
        return Done(self.task, value) if kind == "done" else None

    def overdue(self, now: float) -> Done | None:
        """Give the process up if its time is over."""
        if now < self.deadline or self.idle:
            return None
        self.lost = True
        if not self.ready:
            raise RunError(f"a process to read videos with did not start within {_START_SECONDS} s")
        self.process.terminate()
        return Done(self.task, Lost("stuck", f"stuck: no new frame within {self.timeout:g} s (--timeout)"))

    def _dead(self) -> Done:
        self.lost = True
        self.process.join(_GRACE_SECONDS)
        code = self.process.exitcode
        if not self.ready:
            raise RunError(f"a process to read videos with could not be started (it ended with {code})")
        how = _signal_name(-code) if code is not None and code < 0 else f"code {code}"
        reason = f"the process that read it was ended by {how}: the decoder crashed, or memory was short"
        return Done(self.task, Lost("died", reason))

    def end(self) -> None:
        """Wait for the end of a process that has nothing to do, or was asked to end; kill it if it does not."""
        self.pipe.close()
        self.process.join(_GRACE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Connection, work: Work, beat_seconds: float) -> None:
    """What a process does: answer tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leaves `with` blocks, which remove half-written files
    threading.Thread(target=_end_with_parent, daemon=True).start()
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= beat_seconds:
            last = now
            pipe.send(("beat", None))

    pipe.send(("ready", None))
    try:
        while True:
            task = pipe.recv()
            try:
                answer = ("done", work(task, beat))
            except Exception as error:
                answer = ("raised", (error, traceback.format_exc()))
            try:
                pipe.send(answer)
            except (TypeError, AttributeError, ValueError):  # cannot be pickled
                pipe.send(("raised", (RuntimeError(f"no answer: {answer[1]!r}"), "")))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    """A killed command leaves nobody behind, not even one that hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _context() -> Any:
    """How processes are started: never by forking this one, whose threads may hold locks."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # One process imports torch and av, once, and is forked: a replacement is there at once.
    context.set_forkserver_preload(["teinet.data.tools.check", "teinet.data.tools.shrink.run"])
    with _deaf_to_ctrl_c():
        forkserver.ensure_running()
    return context


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started inside the block ignore Ctrl-C from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
