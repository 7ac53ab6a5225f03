"""Timelines as jobs: bounded in number, with progress, cancelled on request, their results kept for a while."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from teinet.detection.recording import Timeline
from teinet.errors import Interrupted, TeinetError, VideoError
from teinet.serving.limits import Limits, Refused

log = logging.getLogger("teinet")

_KEPT = 100  # results

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Job:
    """A timeline that is computed in the background.

    Args:
        model: the model's name.
        name: what the client calls the video.
        progress: 0 to 1.
        result: `Timeline.to_dict()`, of a job that is done.
    """

    model: str
    name: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    progress: float = 0.0
    error: str | None = None
    result: dict[str, Any] | None = None
    ended: float | None = None  # `time.monotonic` seconds
    stop: threading.Event = field(default_factory=threading.Event)

    def to_dict(self) -> dict[str, Any]:
        """Return state and result as JSON values."""
        facts = {name: getattr(self, name) for name in ("id", "model", "state", "error")}
        return facts | {"progress": round(self.progress, 4)} | (self.result or {})


Work = Callable[[Job], Timeline]  # sets the job's progress; raises Interrupted after its `stop` was set


class Jobs:
    """Computes timelines one after the other, in a thread."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic):
        self._limits, self._now = limits, now
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, tuple[Future[None], ExitStack]] = {}
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="timelines")

    def __len__(self) -> int:
        """Return the number of jobs in work or waiting."""
        return len(self._waiting)

    def check(self) -> None:
        """Refused (503) if no more jobs are taken now."""
        if len(self) >= self._limits.jobs:
            raise Refused(503, "too many timelines are waiting; try again later", retry=10)

    def add(self, job: Job, work: Work, files: ExitStack) -> None:
        """Take a job; `files` is closed at its end. Refused (503) as `check`; the files are then the caller's."""
        with self._lock:
            self._forget()
            self.check()
            self._jobs[job.id] = job
            self._waiting[job.id] = self._pool.submit(self._run, job, work, files), files

    def get(self, number: str) -> Job:
        """Return a job by its id; Refused (404) if there is none, or no longer."""
        with self._lock:
            self._forget()
            if number not in self._jobs:
                raise Refused(404, f"there is no such timeline; results are kept for {self._limits.keep:g} s")
            return self._jobs[number]

    def cancel(self, number: str) -> Job:
        """Stop a job, forget its result, and return it."""
        with self._lock:
            job = self.get(number)
            del self._jobs[number]
            self._stop(job)
            return job

    def close(self) -> None:
        """Stop all jobs, and wait for the one in work."""
        with self._lock:
            for job in self._jobs.values():
                self._stop(job)
        self._pool.shutdown(wait=True)

    def _stop(self, job: Job) -> None:
        job.stop.set()
        if job.ended is None:
            job.state = "cancelled"
        if job.id in self._waiting and self._waiting[job.id][0].cancel():
            self._waiting.pop(job.id)[1].close()

    def _forget(self) -> None:
        """Drop results that are old, or too many."""
        ended = sorted((job.ended, job.id) for job in self._jobs.values() if job.ended is not None)
        old = [number for since, number in ended if self._now() - since > self._limits.keep]
        for number in {*old, *(number for _, number in ended[:-_KEPT])}:
            del self._jobs[number]

    def _run(self, job: Job, work: Work, files: ExitStack) -> None:
        state: State = "failed"
        try:
            with files:
                job.state = "running"
                found = work(job)
            job.result, job.progress, state = replace(found, path=job.name).to_dict(), 1.0, "done"
        except Interrupted:
            state = "cancelled"
        except TeinetError as error:
            job.error = error.reason if isinstance(error, VideoError) else str(error)
        except Exception:
            log.exception("a timeline failed")
            job.error = "internal error; the server's log says more"
        with self._lock:
            job.state, job.ended = state, self._now()
            self._waiting.pop(job.id, None)
