"""The timelines of several recordings: one after the other here, or several at a time in worker processes."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import numpy as np

from teinet.detection.events import Rules
from teinet.detection.recognizes import Recognizes
from teinet.detection.recording import Timeline, timeline
from teinet.detection.result_cache import ResultCache
from teinet.errors import Interrupted, VideoError
from teinet.utils import worker_pool

Answer = tuple[int, Timeline | VideoError]
Reached = Callable[[int, float], object]

_STUCK_SECONDS = 600.0  # without a frame, or without the weights at the beginning
_REFRESH_SECONDS = 0.2


def timelines(
    make: Callable[[], Recognizes],
    videos: Sequence[Path],
    *,
    jobs: int = 1,
    cache: ResultCache | None = None,
    rules: Rules,
    stop: Flag,
    reached: Reached,
    **options: Any,
) -> Iterator[Answer]:
    """Yield (number, answer) of each recording, in order; an error in a file is an answer too.

    With several jobs, a process that a file ends, or that a file keeps for ten minutes without a frame, costs that file
    alone.

    Args:
        make: gives the recognizer; is called once in each process that needs it, so it can be pickled for several jobs.
        videos: files.
        jobs: recordings at a time, in as many processes that share the processor's cores; 1 stays in this process.
        cache: gives the answers of an earlier call, and keeps those of this one; None for none.
        rules: when events begin and end, with labels for nothing.
        stop: ends it once it is set; the answers that are complete by then still come.
        reached: is called, maybe in a thread, with a recording's number and the second reached.
        options: further ones, as `timeline` takes them.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: settings that do not fit.
    """
    known = set() if cache is None else {n for n, video in enumerate(videos) if cache.holds(video)}
    rest = {number: video for number, video in enumerate(videos) if number not in known}
    options, jobs = {"rules": rules, **options}, min(jobs, len(rest))
    look = _here if jobs < 2 else partial(_in_workers, jobs)
    found = look(make, rest, stop, reached, options)
    waiting: dict[int, Timeline | VideoError] = {}
    try:
        for number, video in enumerate(videos):
            kept = cache.load(video, rules) if cache is not None and number in known else None
            if kept is not None:
                yield number, kept
                continue
            while number not in waiting:
                other, answer = next(found)
                if cache is not None and isinstance(answer, Timeline):
                    cache.save(videos[other], answer)
                waiting[other] = answer
            yield number, waiting.pop(number)
    except Interrupted:
        yield from sorted(waiting.items())
        raise


def _here(
    make: Callable[[], Recognizes], videos: Mapping[int, Path], stop: Flag, reached: Reached, options: dict[str, Any]
) -> Iterator[Answer]:
    recognizer = make() if videos else None
    for number, video in videos.items():
        if stop.is_set():
            raise Interrupted("stopped")
        assert recognizer is not None
        yield number, _answer(recognizer, video, stop=stop, progress=lambda s, n=number: reached(n, s), **options)


def _in_workers(
    jobs: int,
    make: Callable[[], Recognizes],
    videos: Mapping[int, Path],
    stop: Flag,
    reached: Reached,
    options: dict[str, Any],
) -> Iterator[Answer]:
    done, threads = 0, max(1, worker_pool.usable_cores() // jobs)
    with _board(1 + max(videos), reached) as board:
        tasks = [_Task(pickle.dumps(make), number, video, threads, board, options) for number, video in videos.items()]
        for each in worker_pool.run(_work, tasks, workers=jobs, timeout=_STUCK_SECONDS, stop=stop):
            done += 1
            answer = each.value
            if isinstance(answer, worker_pool.Lost):
                stuck = f"stuck: no new frame within {_STUCK_SECONDS:g} s"
                answer = VideoError(each.task.video, stuck if answer.kind == "stuck" else answer.reason)
            yield each.task.number, answer
    if done < len(videos):
        raise Interrupted("stopped")


@dataclass(frozen=True)
class _Task:
    make: bytes
    number: int
    video: Path
    threads: int
    board: str
    options: dict[str, Any]


def _work(task: _Task, beat: worker_pool.Beat) -> Timeline | VideoError:
    recognizer = _recognizer(task.make, task.threads)
    board = np.memmap(task.board, np.float64, "r+")

    def progress(second: float) -> None:
        board[task.number] = second
        beat()

    return _answer(recognizer, task.video, progress=progress, threads=task.threads, **task.options)


@lru_cache(1)
def _recognizer(make: bytes, threads: int) -> Recognizes:
    import torch

    torch.set_num_threads(threads)
    return pickle.loads(make)()


def _answer(recognizer: Recognizes, video: Path, **options: Any) -> Timeline | VideoError:
    try:
        return timeline(recognizer, video, **options)
    except VideoError as error:
        return error


@contextmanager
def _board(count: int, reached: Reached) -> Iterator[str]:
    """A file in which workers note the second that they have reached in each recording; a thread passes it on."""
    with tempfile.TemporaryDirectory(prefix="teinet-") as folder:
        path = os.path.join(folder, "board")
        board = np.memmap(path, np.float64, "w+", shape=(count,))
        board[:] = np.nan
        ended = Flag()

        def read() -> None:
            before = board.copy()
            while not ended.wait(_REFRESH_SECONDS):
                now = board.copy()
                for number in np.flatnonzero((now != before) & np.isfinite(now)).tolist():
                    reached(number, float(now[number]))
                before = now

        reader = Thread(target=read, name="reads progress", daemon=True)
        reader.start()
        try:
            yield path
        finally:
            ended.set()
            reader.join()
