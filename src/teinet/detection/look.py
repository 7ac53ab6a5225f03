"""Several recordings looked through, one after the other here or beside each other in processes of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from teinet.detection.events import Rules
from teinet.detection.result_cache import ResultCache
from teinet.detection.timeline import Timeline, timeline
from teinet.errors import Interrupted, VideoError
from teinet.utils import worker_pool as pool

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Engine, Recognizer

Answer = tuple[int, Timeline | VideoError]
Reached = Callable[[int, float], object]

_STUCK_SECONDS = 600.0  # without a frame, or without the weights at the beginning
_REFRESH_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Look:
    """How to look through recordings.

    Args:
        weights: of the recogniser.
        device: where it computes.
        engine: what makes it faster, as `Recognizer.optimize` takes it; None leaves it as it is.
        spacing, rules, span, hop, windows, strip: as `timeline` takes them.
    """

    weights: str
    device: str = "auto"
    engine: Engine | None = None
    spacing: float | None = None
    rules: Rules | None = None
    span: int | None = None
    hop: int | None = None
    windows: bool = False
    strip: bool = False

    def made_faster(self, recognizer: Recognizer) -> Recognizer:
        """The recogniser as it is to look."""
        return recognizer if self.engine is None else recognizer.optimize(engine=self.engine)

    def through(
        self,
        recognizer: Recognizer,
        video: Path,
        *,
        stop: Flag | None = None,
        progress: Callable[[float], object] | None = None,
        threads: int | None = None,
    ) -> Timeline | VideoError:
        """The answer for one recording; an error in the file is one too."""
        try:
            return timeline(
                recognizer,
                video,
                spacing=self.spacing,
                rules=self.rules,
                span=self.span,
                hop=self.hop,
                windows=self.windows,
                strip=self.strip,
                stop=stop,
                progress=progress,
                threads="auto" if threads is None else threads,
            )
        except VideoError as error:
            return error


def look_through(
    look: Look,
    recognizer: Recognizer,
    videos: Sequence[Path],
    *,
    jobs: int,
    cache: ResultCache | None,
    stop: Flag,
    reached: Reached,
) -> Iterator[Answer]:
    """Yield (number, answer) of each recording, in order.

    Args:
        look: how.
        recognizer: of `look.weights`.
        videos: files.
        jobs: recordings at a time; more than 1 are looked through in processes of their own.
        cache: gives the answers of an earlier call, and keeps those of this one; None for none.
        stop: ends it once it is set; the answers that are complete by then still come.
        reached: is called with a recording's number and the second reached.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: settings that do not fit.
    """
    rules = look.rules or Rules()
    known = set() if cache is None else {n for n, video in enumerate(videos) if cache.holds(video)}
    rest = {number: video for number, video in enumerate(videos) if number not in known}
    jobs = min(jobs, len(rest))
    found = (
        beside_each_other(look, rest, jobs, stop, reached)
        if jobs > 1
        else one_by_one(look, look.made_faster(recognizer) if rest else recognizer, rest, stop, reached)
    )
    waiting: dict[int, Timeline | VideoError] = {}
    try:
        for number, video in enumerate(videos):
            if number in known and cache is not None:
                answer = cache.load(video, rules)
                assert answer is not None
                yield number, answer
                continue
            while number not in waiting:
                other, answer = next(found)
                if cache is not None and isinstance(answer, Timeline):
                    cache.save(videos[other], answer)
                waiting[other] = answer
            yield number, waiting.pop(number)
    except Interrupted:
        yield from sorted(waiting.items(), key=lambda each: each[0])
        raise


def one_by_one(
    look: Look, recognizer: Recognizer, videos: Mapping[int, Path], stop: Flag, reached: Reached
) -> Iterator[Answer]:
    """Yield (number, answer) of each recording in turn.

    Args:
        look: how; its weights and device are not read.
        recognizer: what looks.
        videos: files by their numbers.
        stop: ends it once it is set.
        reached: is called with a recording's number and the second reached.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: settings that do not fit.
    """
    for number, video in videos.items():
        if stop.is_set():
            raise Interrupted("stopped")
        yield number, look.through(recognizer, video, stop=stop, progress=lambda s, n=number: reached(n, s))


def beside_each_other(
    look: Look, videos: Mapping[int, Path], jobs: int, stop: Flag, reached: Reached
) -> Iterator[Answer]:
    """Yield (number, answer) of each recording as it is done, from `jobs` processes that share the processor's cores.

    A process that a file ends, or that a file keeps for ten minutes without a frame, costs that file alone.

    Args:
        look: how.
        videos: files by their numbers.
        jobs: processes, at least 1.
        stop: ends the processes once it is set; the answers that are complete by then still come.
        reached: is called, in a thread, with a recording's number and the second reached.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: settings that do not fit.
    """
    done = 0
    with _board(1 + max(videos, default=0), reached) as board:
        threads = max(1, pool.usable_cores() // jobs)
        tasks = [_Task(look, number, video, threads, board) for number, video in videos.items()]
        for answer in pool.run(_through, tasks, workers=jobs, timeout=_STUCK_SECONDS, stop=stop):
            done += 1
            yield answer.task.number, _answer(answer)
    if done < len(videos):
        raise Interrupted("stopped")


@dataclass(frozen=True)
class _Task:
    look: Look
    number: int
    video: Path
    threads: int
    board: str


def _answer(done: pool.Done) -> Timeline | VideoError:
    if not isinstance(done.value, pool.Lost):
        return done.value
    stuck = f"stuck: no new frame within {_STUCK_SECONDS:g} s"
    return VideoError(done.task.video, stuck if done.value.kind == "stuck" else done.value.reason)


def _through(task: _Task, beat: pool.Beat) -> Timeline | VideoError:
    """What a process does."""
    recognizer = _recognizer(task.look, task.threads)
    board = np.memmap(task.board, np.float64, "r+")

    def progress(second: float) -> None:
        board[task.number] = second
        beat()

    return task.look.through(recognizer, task.video, progress=progress, threads=task.threads)


@lru_cache(1)
def _recognizer(look: Look, threads: int) -> Recognizer:
    import torch

    from teinet.recognition.recognizer import Recognizer

    torch.set_num_threads(threads)
    return look.made_faster(Recognizer.load(look.weights, device=look.device))


@contextmanager
def _board(count: int, reached: Reached) -> Iterator[str]:
    """A file in which processes note the second that they have reached in each recording; a thread reads it aloud."""
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
