"""Watches several sources with one recognizer: a step for all that have a frame, events as they begin and end."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from teinet.data.video.source import Source
from teinet.detection.detector import StreamDetectors
from teinet.detection.events import Change, Event, Rules
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import Recognizes, interval_for
from teinet.detection.source_thread import Counts, Report, Shot, SourceThread, Told
from teinet.errors import ConfigError

_KEPT = 10_000  # delays, for their percentiles
_LOOK = 0.1  # seconds after which a watch looks whether it is to stop
_LEAVE = 2.0  # seconds that readers have for ending, all together
_FOLLOWED = ("resized", "restarted", "lost", "stalled", "finished")  # after which what is under way has ended

What = Literal["begin", "end"] | Told


@dataclass(frozen=True, kw_only=True)
class Notice:
    """An event began or ended, or a source changed.

    Args:
        what: "begin", "end": of an event. "connected", "lost": a source gives frames, or none any more. "stalled",
            "resumed": an open live source sends no frames; sends some again. "restarted", "resized": its times jumped
            or paused, or its frames have another size; the state does not carry over. "finished".
        source: its name.
        time: seconds: in a recording of its own clock, 0 before its first frame; else since the watch began.
        at: the time of day, with its zone.
        event: what began or ended, else None.
        why: in words, may be empty.
    """

    what: What
    source: str
    time: float
    at: datetime
    event: Event | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        said = {"what": self.what, "source": self.source, "at": self.at.isoformat(timespec="milliseconds")}
        if self.event is not None:
            event = self.event.to_dict()
            if self.what == "begin":
                del event["end"]
            return {**said, **event}
        return {**said, "time": round(self.time, 3), **({"why": self.why} if self.why else {})}


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What a source shows at the moment.

    Args:
        time: seconds, as in `Notice`; None before the first frame.
        image: (H, W, 3) uint8 RGB, the last frame that the network saw, or None.
        scores: (classes,); None before there are any, and while the source is lost or stalled.
        event: the one under way, or None.
    """

    time: float | None = None
    image: np.ndarray | None = None
    scores: np.ndarray | None = None
    event: Event | None = None


class _Camera:
    """One source in the watch: its thread, what it shows, what became of its frames."""

    def __init__(self, thread: SourceThread):
        self.thread = thread
        self.view = View()
        self.steps = 0
        self.delays: deque[float] = deque(maxlen=_KEPT)


class Watch:
    """Yields a `Notice` for all that happens at its sources, until none has frames any more.

    When the network is late the oldest waiting frames are dropped and counted. A lost camera or stream is tried again
    after growing pauses, without end, while the others go on. Connects to nothing but the sources' own addresses.

    Args:
        recognizer: a causal one steps from frame to frame, a bidirectional one looks at overlapping windows.
        sources: as `Source.parse` reads them; each name once.
        frame_interval, rules: as `Detector` takes them (`frame_interval`, `rules`).
        delay: seconds that a frame may wait for the network while a newer one is there, above 0.
        fast: read recordings as fast as they can be, and drop nothing; else at their own speed.
        wait: wait also for a source that is missing at first.
        stall: seconds without a frame after which an open live source counts as stalled, above 0; it stays open. At
            least twice the frame interval is taken.
        scoring: smoothing, windows, state, as `make_scorer` takes them.

    Raises:
        ConfigError: no source or one given twice, a value out of its range, or an unknown frame interval.
        VideoError: at the end of iterating, the first source's, if each could not be read at all or, as a recording, to
            its end.

    Attributes:
        class_names: in the order of the scores.
        sources: the sources' names.
        frame_interval: seconds between the frames that the network takes.
        state_bytes: size of a source's state; None with windows.
    """

    def __init__(
        self,
        recognizer: Recognizes,
        sources: Sequence[str],
        *,
        frame_interval: float | None = None,
        rules: Rules | None = None,
        delay: float = 0.5,
        fast: bool = False,
        wait: bool = False,
        stall: float = 10.0,
        **scoring: Any,
    ):
        found = [Source.parse(word) for word in sources]
        names = [source.name for source in found]
        if not names:
            raise ConfigError("name a source to watch: a camera, an address or a file")
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"{doubled} is watched twice; give one of them another name: NAME={doubled}")
        if not 0 < delay < math.inf:
            raise ConfigError(f"delay must be a time above 0 s, got {delay:g}")
        if not stall > 0:
            raise ConfigError(f"stall must be a time above 0 s, got {stall:g}")
        self.frame_interval = FrameSampler(interval_for(recognizer, frame_interval)).interval  # which checks it
        self._streams = StreamDetectors(recognizer, len(found), rules=rules, **scoring)
        self.state_bytes = self._streams.scorer.state_bytes
        self._ready = threading.Condition()
        self.class_names = tuple(recognizer.class_names)
        self.sources = tuple(names)
        began = time.monotonic()
        how = {"frame_interval": self.frame_interval, "delay": delay, "stall": stall, "fast": fast, "wait": wait}
        self._cameras = [_Camera(SourceThread(source, ready=self._ready, began=began, **how)) for source in found]
        self._fast = fast
        self._stopping = False

    def stop(self) -> None:
        """Let the iteration end after what is under way; also from another thread or a signal's handler."""
        self._stopping = True

    def counts(self, number: int) -> Counts:
        """What became of a source's frames so far."""
        camera = self._cameras[number]
        delays = list(camera.delays)
        half, most = np.percentile(delays, [50, 99]).tolist() if delays else (None, None)
        skipped = camera.thread.sampler.num_skipped
        return replace(camera.thread.counts, steps=camera.steps, skipped=skipped, delay=half, delay_99=most)

    def view(self, number: int) -> View:
        """What a source shows at the moment; may be asked from another thread."""
        return self._cameras[number].view

    def __iter__(self) -> Iterator[Notice]:
        self._streams.scorer.warm_up()  # before frames arrive
        for camera in self._cameras:
            camera.thread.start()
        try:
            while not self._stopping:
                items = self._next()
                if items is None:
                    break
                yield from self._work(items)
            for number in range(len(self._cameras)):
                yield from self._finish(number)
        finally:
            for camera in self._cameras:
                camera.thread.stop()
            until = time.monotonic() + _LEAVE
            for camera in self._cameras:
                camera.thread.join(timeout=max(0.0, until - time.monotonic()))
        first = self._cameras[0].thread.error
        if first is not None and all(camera.thread.error for camera in self._cameras):
            raise first

    def _next(self) -> dict[int, Shot | Report] | None:
        """At most one item of each source; empty after a while without any, None when no more can come."""
        for camera in self._cameras:
            camera.thread.look()
        with self._ready:
            if not (items := self._items()):
                if all(camera.thread.done for camera in self._cameras):
                    return self._items() or None  # the last ones may have come with the thread's end
                self._ready.wait(_LOOK)
                items = self._items()
            return items

    def _items(self) -> dict[int, Shot | Report]:
        taken = ((number, camera.thread.take()) for number, camera in enumerate(self._cameras))
        return {number: item for number, item in taken if item is not None}

    def _work(self, items: dict[int, Shot | Report]) -> Iterator[Notice]:
        shots = {number: item for number, item in items.items() if isinstance(item, Shot)}
        for number, item in items.items():
            if isinstance(item, Report):
                yield from self._tell(number, item)
        if not shots:
            return
        updates = self._streams.push({n: (shot.time, shot.image, shot.reset) for n, shot in shots.items()})
        done = time.monotonic()
        for number, shot in shots.items():
            camera, (rows, changes) = self._cameras[number], updates[number]
            camera.steps += 1
            if not self._fast:  # a file that is read ahead has no delay
                camera.delays.append(done - shot.arrived)
            yield from self._notices(camera, changes)
            camera.view = View(
                time=shot.time,
                image=shot.image,
                scores=rows[-1].scores if rows else camera.view.scores,
                event=self._streams.events[number].current,
            )

    def _tell(self, number: int, report: Report) -> Iterator[Notice]:
        camera = self._cameras[number]
        if report.what in _FOLLOWED:
            yield from self._finish(number)
        if report.what in ("lost", "stalled"):
            camera.view = replace(camera.view, scores=None)  # nobody knows what is there now
        yield self._notice(camera, report.what, report.time, why=report.why)

    def _finish(self, number: int) -> Iterator[Notice]:
        """End what is under way; with windows, after a last one of the frames that lie in none."""
        camera = self._cameras[number]
        yield from self._notices(camera, self._streams.finish(number)[1])
        camera.view = replace(camera.view, event=None)

    def _notices(self, camera: _Camera, changes: Sequence[Change]) -> Iterator[Notice]:
        for change in changes:
            yield self._notice(camera, change.what, change.event.end, change.event)

    @staticmethod
    def _notice(camera: _Camera, what: What, second: float, event: Event | None = None, why: str = "") -> Notice:
        at = datetime.now().astimezone()  # the clock may have been set, or the zone changed, since the watch began
        return Notice(what=what, source=camera.thread.source.name, time=second, at=at, event=event, why=why)
