"""Names the file on which a data worker hangs and ends the work, which would wait for it for ever otherwise.

A network disk that does not answer, or a decoder in an endless loop, hangs inside C, where neither exceptions nor
signal handlers of Python's run. So each worker notes in shared memory which clip it reads; a thread of the main process
looks at the notes and kills workers that do not get on, and their death ends the loader's wait.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch.utils.data import Dataset, get_worker_info

from teinet.errors import RunError

log = logging.getLogger("teinet")

READ_TIMEOUT = 120.0
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 2.0
_DEATH = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_SIGNAL = re.compile(r"killed by signal: ([\w ]+)")


class WatchedClips(Dataset):
    """A data set whose readers note what they read.

    `notes` (workers, 3) int64 hold the process, the number of its read, and the clip, -1 between two reads.
    """

    def __init__(self, dataset: Any, workers: int):
        self.dataset = dataset
        self.notes = torch.full((max(1, workers), 3), -1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        worker = get_worker_info()
        note = self.notes[worker.id if worker else 0].numpy()
        note[:] = os.getpid(), note[1] + 1, key if isinstance(key, int) else key.index
        try:
            return self.dataset[key]
        finally:
            note[2] = -1


class _Read(NamedTuple):
    process: int
    number: int  # two reads of the same clip differ in it
    path: str


class ReadWatch:
    """Watches the workers of any number of loaders.

    Where there are no workers (0), the main process reads itself, and nothing in it can end a read: it is only said.

    Args:
        timeout: seconds that reading one clip may take; 0 sets no limit.
        option: what a user sets it by.
    """

    def __init__(self, timeout: float = READ_TIMEOUT, *, option: str = "--read-timeout"):
        self.timeout, self.option = timeout, option
        self._watched: WeakSet[WatchedClips] = WeakSet()
        self._overdue: list[tuple[_Read, float]] = []

    def over(self, dataset: Any, workers: int) -> WatchedClips:
        """The data set to give to a loader with so many workers; `dataset.clips` names the files."""
        watched = WatchedClips(dataset, workers)
        self._watched.add(watched)
        return watched

    @contextmanager
    def guard(self, after: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Watch inside the block, whose loaders may then fail.

        Args:
            after: says, when it has happened, what is kept and how to go on.

        Raises:
            RunError: reading a file took too long, or ended the process that read it; no worker is left.
        """
        self._overdue = []
        before = {child.pid for child in multiprocessing.active_children()}
        done = threading.Event()
        thread = threading.Thread(target=self._look, args=(done,), name="read-watch", daemon=True)
        if self.timeout > 0:
            thread.start()
        try:
            yield
        except BaseException as error:
            reason = self._stuck() if self._overdue else self._death(error)
            if reason is None:
                raise
            self._end_workers(before)
            text = f"{reason} {after()}".strip()
            if os.environ.get("LOCAL_RANK", "0") != "0":
                log.critical(text)  # the first process of several, which speaks otherwise, does not know of it
            raise RunError(text) from None
        finally:
            done.set()
            if self.timeout > 0:
                thread.join()

    def _look(self, done: threading.Event) -> None:
        interval = min(_LOOK_SECONDS, self.timeout / 4)
        seen: dict[_Read, float] = {}
        before, said = time.monotonic(), set()
        while not done.wait(interval):
            now = time.monotonic()
            passed, before = min(now - before, 2 * interval), now  # Ctrl-Z stops the workers too: it does not count
            seen = {read: seen.get(read, -passed) + passed for read in self._reads()}
            if not any(seconds >= self.timeout for seconds in seen.values()):
                continue
            # those that began a little later wait, most likely, for the same disk
            slow = {read: seconds for read, seconds in seen.items() if seconds >= self.timeout / 2}
            living = {child.pid: child for child in multiprocessing.active_children()}
            if any(read.process in living and seconds >= self.timeout for read, seconds in slow.items()):
                self._overdue = [(read, seconds) for read, seconds in slow.items() if read.process in living]
                for read, _ in self._overdue:
                    living[read.process].kill()
                return
            for read in slow.keys() - said:
                if read.process == os.getpid():
                    said.add(read)
                    log.warning(
                        "%s: still not read after %s. Without workers nothing but a kill ends this; with one, the "
                        "work would end here (%s)",
                        *(read.path, _said(seen[read]), self.option),
                    )

    def _reads(self) -> list[_Read]:
        """What is being read now."""
        reads = []
        for watched in list(self._watched):
            for process, number, clip in watched.notes.tolist():
                if clip >= 0:
                    reads.append(_Read(process, number, watched.dataset.clips.paths[clip]))
        return reads

    def _stuck(self) -> str:
        files = ", ".join(f"{read.path} ({_said(seconds)})" for read, seconds in self._overdue)
        return (
            f"reading does not end: {files}; the disk does not answer, or the decoder is caught in a loop. Mend the "
            f"file, or put an empty one in its place, which counts as unreadable; where the disk is only slow, allow "
            f"more than {self.timeout:g} s ({self.option})."
        )

    def _death(self, error: BaseException) -> str | None:
        """What is said of a worker that died while it read; None where the error is another one."""
        text = f"{error} {error.__cause__ or error.__context__ or ''}"
        if not isinstance(error, RuntimeError) or not (found := _DEATH.search(text)):
            return None
        dead = set(map(int, found[1].split(",")))
        if not (paths := [read.path for read in self._reads() if read.process in dead]):
            return None
        signal = _SIGNAL.search(text)
        if signal and signal[1] == "Terminated":  # somebody stops all of this
            return None
        how = f" ({signal[1]})" if signal else ""
        return (
            f"{', '.join(paths)}: the process that read it came to a sudden end{how}: the decoder crashed, or memory "
            "was short, of which fewer workers need less."
        )

    def _end_workers(self, before: set[int | None]) -> None:
        """Leave nobody behind; asked, and not killed, they end without a word to the loader."""
        ours = {row[0] for watched in list(self._watched) for row in watched.notes.tolist()}
        # a worker that has read nothing yet left no note: it is known by having begun meanwhile
        workers = [
            child
            for child in multiprocessing.active_children()
            if child.pid in ours or (child.daemon and child.pid not in before)
        ]
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(_GRACE_SECONDS)
            if worker.is_alive():
                worker.kill()
                worker.join()


def _said(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
