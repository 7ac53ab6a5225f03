"""Timelines of several recordings, in this process or in workers; finished ones are kept until all are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from os import PathLike, fspath
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np

from teinet.data.shards import status_of
from teinet.detection.events import Rules
from teinet.detection.recording import Thumbnails, Timeline, events_of, timeline
from teinet.detection.scorer import Recognizes
from teinet.errors import Interrupted, VideoError
from teinet.utils import worker_pool
from teinet.utils.files import is_plain_zip, replacing

Answer = tuple[int, Timeline | VideoError]
Reached = Callable[[int, float], object]
Make = Callable[[], Recognizes]
Options = dict[str, Any]  # of `timeline`

_STUCK_SECONDS = 600.0  # without a frame, or without the weights at the beginning
_FORMAT = 8  # of a kept timeline
_ARRAYS = ("intervals", "scores", "resets")
_FACTS = ("class_names", "frame_interval", "restarts", "resizes", "broken", "until", "end", "stated_duration")


class ResultCache:
    """A cache of timelines in a folder, each under a digest of everything that its scores depend on.

    Args:
        folder: created when the first timeline is saved.
        settings: everything but the video that the scores depend on: weights and options.
    """

    def __init__(self, folder: str | PathLike, settings: Mapping[str, Any]):
        self.folder = Path(folder)
        self._settings = sorted(settings.items())

    def save(self, video: str | PathLike, timeline: Timeline) -> None:
        """Save the timeline of a recording."""
        arrays: dict[str, Any] = {name: getattr(timeline, name) for name in _ARRAYS}
        arrays["facts"] = np.array(json.dumps({name: getattr(timeline, name) for name in _FACTS}))
        if timeline.strip is not None:
            arrays |= {"seconds": timeline.strip.seconds, "images": timeline.strip.images}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(video)) as part, open(part, "wb") as file:
            np.savez(file, **arrays)

    def holds(self, video: str | PathLike) -> bool:
        """Return whether the cache has the timeline of this file with these settings; a changed file has none."""
        return is_plain_zip(self._path(video))

    def load(self, video: str | PathLike, rules: Rules) -> Timeline:
        """Load the timeline of a recording, with events by these rules."""
        with np.load(self._path(video), allow_pickle=False) as file:
            facts, arrays = json.loads(str(file["facts"])), {name: file[name] for name in _ARRAYS}
            strip = Thumbnails(file["seconds"], file["images"]) if "seconds" in file else None
        names = facts["class_names"] = tuple(facts["class_names"])
        events = events_of(arrays["intervals"], arrays["scores"], arrays["resets"], names, rules)
        return Timeline(path=fspath(video), events=events, strip=strip, **arrays, **facts)

    def clear(self) -> None:
        """Remove all timelines, and the folder if nothing else is in it."""
        for path in self.folder.glob("*.npz*"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _path(self, video: str | PathLike) -> Path:
        try:
            status = status_of(video)
        except OSError:
            return self.folder / "missing"
        facts = (_FORMAT, self._settings, *status)
        return self.folder / f"{hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()}.npz"


def timelines(
    make: Make,
    videos: Sequence[Path],
    *,
    workers: int = 1,
    cache: ResultCache | None = None,
    rules: Rules,
    stop: Flag,
    reached: Reached,
    **options: Any,
) -> Iterator[Answer]:
    """Yield the number of each recording with its timeline, in order, or with the error if it cannot be read.

    With several workers, a file that crashes its process, or gives no frame for ten minutes, is that file's error only.

    Args:
        make: returns the recognizer, once in each process that needs it; picklable for several workers.
        videos: files.
        workers: recordings at a time, in as many processes, which share the cores; 1 stays in this process.
        cache: has the timelines of an interrupted call, and takes those of this one.
        rules: with background classes filled in.
        stop: ends the work when it is set; complete timelines are still yielded.
        reached: is called with a recording's number and its current time in seconds; not with several workers.
        options: other arguments of `timeline`.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: unusable settings.
    """
    known = set() if cache is None else {number for number, video in enumerate(videos) if cache.holds(video)}
    rest = {number: video for number, video in enumerate(videos) if number not in known}
    options, workers = {"rules": rules, **options}, min(workers, len(rest))
    found = (
        _here(make, rest, stop, reached, options) if workers < 2 else _in_workers(make, rest, stop, workers, options)
    )
    waiting: dict[int, Timeline | VideoError] = {}
    try:
        for number, video in enumerate(videos):
            if cache is not None and number in known:
                yield number, cache.load(video, rules)
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


def _here(make: Make, videos: Mapping[int, Path], stop: Flag, reached: Reached, options: Options) -> Iterator[Answer]:
    recognizer = None
    for number, video in videos.items():
        if stop.is_set():
            raise Interrupted("stopped")
        recognizer = recognizer or make()
        yield number, _answer(recognizer, video, stop=stop, progress=partial(reached, number), **options)


def _in_workers(make: Make, videos: Mapping[int, Path], stop: Flag, workers: int, options: Options) -> Iterator[Answer]:
    done, work = 0, partial(_work, make, max(1, worker_pool.usable_cores() // workers), options)
    for each in worker_pool.run(work, list(videos.items()), workers=workers, timeout=_STUCK_SECONDS, stop=stop):
        done += 1
        (number, video), answer = each.task, each.value
        if isinstance(answer, worker_pool.TaskFailure):
            stuck = f"timed out: no new frame for {_STUCK_SECONDS:g} s"
            answer = VideoError(video, stuck if answer.kind == "stuck" else answer.reason)
        yield number, answer
    if done < len(videos):
        raise Interrupted("stopped")


def _work(
    make: Make, threads: int, options: Options, task: tuple[int, Path], beat: worker_pool.Beat
) -> Timeline | VideoError:
    recognizer = _recognizer(make, threads)
    return _answer(recognizer, task[1], progress=lambda second: beat(), threads=threads, **options)


@lru_cache(1)
def _recognizer(make: Make, threads: int) -> Recognizes:
    """Make the recognizer, once in a worker."""
    import torch

    torch.set_num_threads(threads)
    return make()


def _answer(recognizer: Recognizes, video: Path, **options: Any) -> Timeline | VideoError:
    try:
        return timeline(recognizer, video, **options)
    except VideoError as error:
        return error
