"""The timelines of several recordings, in this process or in workers; those of finished ones are kept until all are."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from os import PathLike, fspath
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np

from teinet.detection.events import Rules
from teinet.detection.recording import Strip, Timeline, events_of, timeline
from teinet.detection.scorer import Recognizes
from teinet.errors import Interrupted, VideoError
from teinet.utils import worker_pool
from teinet.utils.files import replacing

Answer = tuple[int, Timeline | VideoError]
Reached = Callable[[int, float], object]
Make = Callable[[], Recognizes]
Options = dict[str, Any]  # of `timeline`

_STUCK_SECONDS = 600.0  # without a frame, or without the weights at the beginning
_FORMAT = 6  # of a kept timeline
_ARRAYS = ("intervals", "scores", "resets")
_FACTS = ("class_names", "frame_interval", "restarts", "resizes", "broken", "until", "end", "stated")


class ResultCache:
    """Keeps timelines in a folder, each under a digest of all that its scores depend on.

    Args:
        folder: made when the first timeline is saved.
        settings: what scores depend on besides the video: the weights, their options.
    """

    def __init__(self, folder: str | PathLike, settings: Mapping[str, Any]):
        self.folder = Path(folder)
        self._settings = sorted(settings.items())

    def save(self, video: str | PathLike, timeline: Timeline) -> None:
        """Keep the timeline of a recording."""
        arrays: dict[str, Any] = {name: getattr(timeline, name) for name in _ARRAYS}
        arrays["facts"] = np.array(json.dumps({name: getattr(timeline, name) for name in _FACTS}))
        if timeline.strip is not None:
            arrays |= {"seconds": timeline.strip.seconds, "images": timeline.strip.images}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(video)) as part, open(part, "wb") as file:
            np.savez(file, **arrays)

    def holds(self, video: str | PathLike) -> bool:
        """Say whether the timeline of this very file, found with these settings, is kept."""
        return zipfile.is_zipfile(self._path(video))

    def load(self, video: str | PathLike, rules: Rules) -> Timeline:
        """Return the timeline of a recording that is kept, with events by these rules."""
        with np.load(self._path(video), allow_pickle=False) as file:
            facts, arrays = json.loads(str(file["facts"])), {name: file[name] for name in _ARRAYS}
            strip = Strip(file["seconds"], file["images"]) if "seconds" in file else None
        names = facts["class_names"] = tuple(facts["class_names"])
        events = events_of(arrays["intervals"], arrays["scores"], arrays["resets"], names, rules)
        return Timeline(path=fspath(video), events=events, strip=strip, **arrays, **facts)

    def clear(self) -> None:
        """Remove all that is kept, and the folder, unless something else lies in it."""
        for path in self.folder.glob("*.npz*"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _path(self, video: str | PathLike) -> Path:
        try:
            status = os.stat(video)
        except OSError:
            return self.folder / "missing"
        facts = (_FORMAT, self._settings, os.path.abspath(video), status.st_size, status.st_mtime_ns)
        return self.folder / f"{hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()}.npz"


def timelines(
    make: Make,
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

    With several jobs, a file that kills its process, or gives no frame for ten minutes, costs that file alone.

    Args:
        make: gives the recognizer, once in each process that needs it; picklable for several jobs.
        videos: files.
        jobs: recordings at a time, in as many processes that share the cores; 1 stays in this process.
        cache: gives the answers of an earlier call, and keeps those of this one.
        rules: with background classes filled in.
        stop: ends it once it is set; answers complete by then still come.
        reached: is called with a recording's number and the second reached; not with several jobs.
        options: further ones, as `timeline` takes them.

    Raises:
        Interrupted: `stop` was set before all were done.
        TeinetError: settings that do not fit.
    """
    known = set() if cache is None else {number for number, video in enumerate(videos) if cache.holds(video)}
    rest = {number: video for number, video in enumerate(videos) if number not in known}
    options, jobs = {"rules": rules, **options}, min(jobs, len(rest))
    found = _here(make, rest, stop, reached, options) if jobs < 2 else _in_workers(make, rest, stop, jobs, options)
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


def _in_workers(make: Make, videos: Mapping[int, Path], stop: Flag, jobs: int, options: Options) -> Iterator[Answer]:
    done, work = 0, partial(_work, make, max(1, worker_pool.usable_cores() // jobs), options)
    for each in worker_pool.run(work, list(videos.items()), workers=jobs, timeout=_STUCK_SECONDS, stop=stop):
        done += 1
        (number, video), answer = each.task, each.value
        if isinstance(answer, worker_pool.Lost):
            stuck = f"stuck: no new frame within {_STUCK_SECONDS:g} s"
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
    """Make it once in a worker."""
    import torch

    torch.set_num_threads(threads)
    return make()


def _answer(recognizer: Recognizes, video: Path, **options: Any) -> Timeline | VideoError:
    try:
        return timeline(recognizer, video, **options)
    except VideoError as error:
        return error
