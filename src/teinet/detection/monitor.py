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
from teinet.detection.detector import StreamDetectors, Update
from teinet.detection.events import Event, Rules
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import Recognizes, StateType, interval_for
from teinet.detection.source_thread import Report, Shot, SourceThread, Told
from teinet.errors import ConfigError
from teinet.models.header import list_pretrained
from teinet.models.insertion import is_causal

_KEPT = 10_000  # delays, for their percentiles
_LOOK = 0.1  # seconds after which a watch looks whether it is to stop
_LEAVE = 2.0  # seconds that readers have for ending, all together
_FOLLOWED = ("resized", "restarted", "lost", "stalled", "finished")  # after which what is under way has ended


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something happened before a camera, or to it.

    Args:
        what: "begin", "end": of an event. "connected", "lost": a source gives frames, or gives none any more.
            "stalled", "resumed": a live one is open, but sends no frames; it sends some again. "restarted": its times
            jumped or paused, and the state does not carry over. "resized": its frames have another size, likewise.
            "finished": it has no more frames.
        source: its name.
        time: seconds: in a recording, of its own clock, where it is at (0 before its first frame); else since the watch
            began.
        at: the time of day, with its zone.
        event: what began or ended, else None.
        why: in words, where there is something to say, else "".
    """

    what: Literal["begin", "end"] | Told
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


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of a source's frames.

    Args:
        steps: frames that the network saw.
        skipped: frames between them, which the spacing leaves out.
        dropped: frames that were due, but waited too long.
        broken: packets or frames that could not be decoded whole.
        restarts: times at which the state did not carry over.
        connections: how often the source was opened.
        stalls: how often it was open and sent no frame for long.
        delay, delay_99: seconds from a frame's arrival to its scores, median and 99th percentile of the last 10,000
            steps; None before the first, and of recordings read as fast as possible.
    """

    steps: int
    skipped: int
    dropped: int
    broken: int
    restarts: int
    connections: int
    stalls: int
    delay: float | None
    delay_99: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What a source shows at the moment.

    Args:
        time: seconds, as in `Notice`; None before the first frame.
        picture: (H, W, 3) uint8 RGB, the last one that the network saw, or None.
        scores: (classes,), or None before there are any, and while the source is lost or stalled.
        event: what is under way, or None.
    """

    time: float | None = None
    picture: np.ndarray | None = None
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
    """Iterate it to watch; it yields a `Notice` for all that happens, and ends when no source has frames any more.

    A source's frames are taken as far apart in time as in training. When the network is late the oldest waiting frames
    are dropped and counted. A camera or stream that is lost is tried again after growing pauses, for ever; the others
    go on meanwhile. Nothing is sent anywhere but to the sources' own addresses.

    Args:
        recognizer: a causal one, or TSN's; a two-sided one with `windows`.
        sources: as `Source.parse` reads them; each name once.
        spacing: seconds between the frames that the network takes; None takes that of its training.
        span: how many of the last frames a score averages over, at least 1; None takes T. Not with windows.
        rules: when events begin and end.
        delay: seconds that a frame may wait for the network while a newer one is there, above 0.
        fast: read recordings as fast as they can be, and drop nothing; else at their own speed.
        patient: wait also for a source that is not there at first.
        windows: give the network the last T frames again every T/2 frames, as `timeline` does, which costs twice the
            frames.
        stall: seconds without a frame after which a live source that is open has stalled, above 0; it is let be, and
            said. Never less than twice the spacing.
        state: "fp16" keeps what a causal network remembers in half the memory, as `Recognizer.stream` does. Not with
            windows.

    Raises:
        ConfigError: a two-sided network without `windows`, no or doubled sources, a value out of its range, or no
            spacing that is known.
        VideoError: at the end of iterating, when each source could not be read at all, or was a recording that could
            not be read to its end; of the first one.

    Attributes:
        began, began_at: when it was made: `time.monotonic` seconds, and the time of day.
        class_names: in the order of the scores.
        sources: the sources' names.
        spacing: seconds between the frames that the network takes.
        state_bytes: what the network remembers of a source; None with windows.
    """

    def __init__(
        self,
        recognizer: Recognizes,
        sources: Sequence[str],
        *,
        spacing: float | None = None,
        span: int | None = None,
        rules: Rules | None = None,
        delay: float = 0.5,
        fast: bool = False,
        patient: bool = False,
        windows: bool = False,
        stall: float = 10.0,
        state: StateType = "same",
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
        if not (windows or is_causal(recognizer.model)):
            shipped = [each.name for each in list_pretrained() if each.header["architecture"].get("causal")]
            raise ConfigError(
                "this network looks at the frame after each frame, so it cannot go on frame by frame. Train a causal "
                "one (teinet train ... --model.causal true), "
                + (f"take one that comes with the library ({', '.join(shipped)}), " if shipped else "")
                + "or have it look at windows (windows=True, --windows)"
            )
        self.spacing = FrameSampler(interval_for(recognizer, spacing)).interval  # which checks it
        self._streams = StreamDetectors(recognizer, len(found), rules=rules, span=span, windows=windows, state=state)
        self.state_bytes = self._streams.scorer.state_bytes
        self._ready = threading.Condition()
        self.began = time.monotonic()
        self.began_at = datetime.now().astimezone()
        self.class_names = tuple(recognizer.class_names)
        self.sources = tuple(names)
        self._cameras = [
            _Camera(
                SourceThread(
                    source,
                    spacing=self.spacing,
                    ready=self._ready,
                    began=self.began,
                    delay=delay,
                    stall=stall,
                    fast=fast,
                    patient=patient,
                )
            )
            for source in found
        ]
        self._fast = fast
        self._stopping = False

    def stop(self) -> None:
        """Let the iteration end after what is under way; also from another thread or a signal's handler."""
        self._stopping = True

    def counts(self, number: int) -> Counts:
        """What became of a source's frames so far."""
        camera = self._cameras[number]
        thread, delays = camera.thread, list(camera.delays)
        half, most = np.percentile(delays, [50, 99]) if delays else (None, None)
        return Counts(
            steps=camera.steps,
            skipped=thread.sampler.num_skipped,
            dropped=thread.dropped,
            broken=thread.broken,
            restarts=thread.restarts,
            connections=thread.connections,
            stalls=thread.stalls,
            delay=None if half is None else float(half),
            delay_99=None if most is None else float(most),
        )

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
        updates = self._streams.push({n: (shot.time, shot.picture, shot.reset) for n, shot in shots.items()})
        done = time.monotonic()
        for number, shot in shots.items():
            camera, update = self._cameras[number], updates[number]
            camera.steps += 1
            if not self._fast:  # a file that is read ahead has no delay
                camera.delays.append(done - shot.arrived)
            yield from self._notices(camera, update)
            camera.view = View(
                time=shot.time,
                picture=shot.picture,
                scores=update.rows[-1].scores if update.rows else camera.view.scores,
                event=self._streams.events[number].current,
            )

    def _tell(self, number: int, report: Report) -> Iterator[Notice]:
        camera = self._cameras[number]
        if report.what in _FOLLOWED:
            yield from self._finish(number)
        if report.what in ("lost", "stalled"):
            camera.view = replace(camera.view, scores=None)  # nobody knows what happens there now
        nothing_read = camera.thread.error is not None and not camera.thread.connections
        first = camera is self._cameras[0]
        if first and report.what == "lost" and nothing_read and all(other.thread.error for other in self._cameras):
            return  # it is raised
        times = f"{report.count} times" if report.count > 1 else ""
        why = f"{report.why} ({times})" if report.why and times else report.why or times
        yield self._notice(camera, report.what, report.time, why=why)

    def _finish(self, number: int) -> Iterator[Notice]:
        """End what is under way; with windows, after a last one of the frames that lie in none."""
        camera = self._cameras[number]
        yield from self._notices(camera, self._streams.finish(number))
        camera.view = replace(camera.view, event=None)

    def _notices(self, camera: _Camera, update: Update) -> Iterator[Notice]:
        for change in update.changes:
            yield self._notice(camera, change.what, change.event.end, event=change.event)

    def _notice(
        self,
        camera: _Camera,
        what: Literal["begin", "end"] | Told,
        second: float,
        *,
        event: Event | None = None,
        why: str = "",
    ) -> Notice:
        at = datetime.now().astimezone()  # the clock may have been set, or the zone changed, since the watch began
        return Notice(what=what, source=camera.thread.source.name, time=second, at=at, event=event, why=why)
