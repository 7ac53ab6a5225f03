"""A DataLoader that names the file on which one of its workers hangs or crashes, and ends there.

A network disk that does not answer, or a decoder in an endless loop, hangs inside C, where neither exceptions nor
signal handlers of Python's run. So each worker notes in shared memory which clip it reads; when the loader's own
`timeout` passes again and again while a worker reads the same clip, that clip is the reason.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from teinet.errors import RunError
from teinet.utils.signals import first_process, ignore_signals

log = logging.getLogger("teinet")

READ_TIMEOUT = 120.0
_LOOKS = 3  # timeouts of the loader, each of half the time that reading a clip may take, that one read must outlast
_DEATH = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_SIGNAL = re.compile(r"killed by signal: ([\w ]+)")


class _Stuck(Exception):
    """Why reading does not go on."""


class _Read(NamedTuple):
    process: int
    number: int  # two reads of the same clip differ in it
    path: str


class _NotedClips(Dataset):
    """A data set whose readers note what they read.

    `notes` (workers, 3) int64 hold the process, the number of its read, and the clip, -1 between two reads.
    """

    def __init__(self, dataset: Any, workers: int, watch: ReadWatch):
        self.dataset = dataset
        self.timeout, self.option = watch.timeout, watch.option
        self.notes = torch.full((max(1, workers), 3), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        worker = get_worker_info()
        note = self.notes[worker.id if worker else 0].numpy()
        clip = key if isinstance(key, int) else key.index
        note[:] = os.getpid(), note[1] + 1, clip
        alarm = None
        if worker is None and self.timeout > 0:  # nothing in this process can end the read: it is only said
            alarm = threading.Timer(self.timeout, self._warn, (clip,))
            alarm.daemon = True
            alarm.start()
        try:
            return self.dataset[key]
        finally:
            note[2] = -1
            if alarm:
                alarm.cancel()

    def _warn(self, clip: int) -> None:
        log.warning(
            "%s: still not read after %g s. Without workers nothing but a kill ends this; with one, the work would end "
            "here (%s)",
            *(self.dataset.clips.paths[clip], self.timeout, self.option),
        )

    def reads(self) -> list[_Read]:
        """What is being read now."""
        notes = self.notes.tolist()
        return [_Read(pid, number, self.dataset.clips.paths[clip]) for pid, number, clip in notes if clip >= 0]

    def stuck(self, reads: list[_Read]) -> _Stuck:
        """What is said of reads that do not end."""
        files = ", ".join(f"{read.path} (more than {self.timeout:g} s)" for read in reads)
        return _Stuck(
            f"reading does not end: {files}; the disk does not answer, or the decoder is caught in a loop. Fix the "
            "file, or put an empty one in its place, which counts as unreadable; where the disk is only slow, allow "
            f"more ({self.option})."
        )


class ClipLoader(DataLoader):
    """A DataLoader of clips whose workers leave signals to the main process and take one thread each.

    Args:
        dataset: `dataset.clips` names the files.
        watch: what it tells which clips are being read; None sets no limit of time.
        num_workers, settings: as of `DataLoader`.
    """

    def __init__(self, dataset: Any, *, watch: ReadWatch | None = None, num_workers: int = 0, **settings: Any):
        timeout = 0.0
        self.noted: _NotedClips | None = None
        if watch is not None:
            self.noted = dataset = _NotedClips(dataset, num_workers, watch)
            watch.noted.add(dataset)
            timeout = watch.timeout / 2 if num_workers else 0.0
        settings.setdefault("worker_init_fn", prepare_worker)
        super().__init__(dataset, num_workers=num_workers, timeout=timeout, **settings)

    def __iter__(self) -> Iterator[Any]:
        batches = super().__iter__()
        lasting: dict[_Read, int] = {}
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if self.noted is None or "DataLoader timed out" not in str(error):
                    raise
                lasting = {read: lasting.get(read, 0) + 1 for read in self.noted.reads()}
                if max(lasting.values(), default=0) >= _LOOKS:
                    slow = [read for read, looks in lasting.items() if looks >= _LOOKS - 1]
                    raise self.noted.stuck(slow) from None
                continue  # each clip of a large batch may take a while: the loader waits on
            lasting = {}
            yield batch


class ReadWatch:
    """Knows what the workers of any number of loaders read.

    Args:
        timeout: seconds that reading one clip may take; 0 sets no limit.
        option: what a user sets it by.
    """

    def __init__(self, timeout: float = READ_TIMEOUT, *, option: str = "--read-timeout"):
        self.timeout, self.option = timeout, option
        self.noted: WeakSet[_NotedClips] = WeakSet()

    @contextmanager
    def guard(self, after: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Name the file where a loader fails inside the block because of it.

        Args:
            after: says, when it has happened, what is kept and how to continue.

        Raises:
            RunError: reading a file took too long, or ended the process that read it; no worker is left.
        """
        before = {child.pid for child in multiprocessing.active_children()}
        try:
            yield
        except BaseException as error:
            reason = str(error) if isinstance(error, _Stuck) else self._death(error)
            if reason is None:
                raise
            _end_workers(before)
            text = f"{reason} {after()}".strip()
            if not first_process():
                log.critical(text)  # the first process of several, which speaks otherwise, does not know of it
            raise RunError(text) from None

    def _death(self, error: BaseException) -> str | None:
        """What is said of a worker that died while it read; None where the error is another one."""
        text = f"{error} {error.__cause__ or error.__context__ or ''}"
        if not isinstance(error, RuntimeError) or not (found := _DEATH.search(text)):
            return None
        dead = set(map(int, found[1].split(",")))
        paths = [read.path for noted in list(self.noted) for read in noted.reads() if read.process in dead]
        killed = _SIGNAL.search(text)
        if not paths or (killed and killed[1] == "Terminated"):  # somebody stops all of this
            return None
        how = f" ({killed[1]})" if killed else ""
        return (
            f"{', '.join(paths)}: the process that read it came to a sudden end{how}: the decoder crashed, or memory "
            "was short, of which fewer workers need less."
        )


def prepare_worker(worker_id: int) -> None:
    """Leave signals to the main process, which gets them too, and one thread to each worker."""
    ignore_signals()
    torch.set_num_threads(1)


def _end_workers(before: set[int | None]) -> None:
    """Leave nobody behind that began meanwhile: one that hangs hears nothing but a kill."""
    workers = [child for child in multiprocessing.active_children() if child.daemon and child.pid not in before]
    main = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    heard = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if main else None  # torch's handler would raise an error
    try:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
    finally:
        if main:
            signal.signal(signal.SIGCHLD, heard)
