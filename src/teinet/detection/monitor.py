"""Watches several sources with one recogniser: a step for all that have a frame, events as they begin and end."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

from teinet.data.transforms import test_crops
from teinet.data.video.source import Source
from teinet.detection.events import Event, Events, Rules
from teinet.detection.live_reader import Reader, Report, Shot
from teinet.detection.notice import Notice
from teinet.detection.pace import Pace, spacing_for
from teinet.detection.rows import Row, Span, Taken, WindowRows
from teinet.errors import ConfigError
from teinet.models.header import list_pretrained
from teinet.models.insertion import is_causal
from teinet.recognition.stream import StateType, Stream

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

_KEPT = 10_000  # delays, for their percentiles
_LOOK = 0.1  # seconds after which a watch looks whether it is to stop
_LEAVE = 2.0  # seconds that readers have for ending, all together
_FOLLOWED = ("resized", "restarted", "lost", "stalled", "finished")  # after which what is under way has ended


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of a source's frames.

    Args:
        steps: frames that the network saw.
        skipped: frames between them, which the spacing leaves out.
        dropped: frames that were due, but waited too long.
        broken: packets or frames that could not be decoded whole.
        restarts: times at which what was seen before no longer counted.
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
    """One source in the watch: its reader, its windows where it is looked at by such, its events, its last picture."""

    def __init__(self, reader: Reader, windows: WindowRows | None, span: Span, events: Events):
        self.reader, self.windows, self.span, self.events = reader, windows, span, events
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
        recognizer: Recognizer,
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
        if windows and span is not None:
            raise ConfigError("span belongs to causal networks; a window's scores are of its T frames")
        if windows and state != "same":
            raise ConfigError("state belongs to causal networks; with windows nothing is remembered but the frames")
        self.spacing = Pace(spacing_for(recognizer, spacing)).spacing  # which checks it
        self._recognizer = recognizer
        self._stream = None if windows else Stream(recognizer, len(found), span=span, state=state)
        self.state_bytes = None if self._stream is None else self._stream.state.nbytes // len(found)
        self._ready = threading.Condition()
        self.began = time.monotonic()
        self.began_at = datetime.now().astimezone()
        self.class_names = tuple(recognizer.class_names)
        self.sources = tuple(names)
        self._cameras = [
            _Camera(
                Reader(
                    source,
                    spacing=self.spacing,
                    ready=self._ready,
                    began=self.began,
                    delay=delay,
                    stall=stall,
                    fast=fast,
                    patient=patient,
                ),
                WindowRows(recognizer, together=1) if self._stream is None else None,
                Span(recognizer.num_frames if self._stream is None else self._stream.span),
                Events(recognizer.class_names, (rules or Rules()).filled(recognizer.nothing)),
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
        reader, delays = camera.reader, list(camera.delays)
        half, most = np.percentile(delays, [50, 99]) if delays else (None, None)
        return Counts(
            steps=camera.steps,
            skipped=reader.pace.skipped,
            dropped=reader.dropped,
            broken=reader.broken,
            restarts=reader.restarts,
            connections=reader.connections,
            stalls=reader.stalls,
            delay=None if half is None else float(half),
            delay_99=None if most is None else float(most),
        )

    def view(self, number: int) -> View:
        """What a source shows at the moment; may be asked from another thread."""
        return self._cameras[number].view

    def __iter__(self) -> Iterator[Notice]:
        self._warm_up()
        for camera in self._cameras:
            camera.reader.start()
        try:
            while not self._stopping:
                items = self._next()
                if items is None:
                    break
                yield from self._work(items)
            for camera in self._cameras:
                yield from self._finish(camera)
        finally:
            for camera in self._cameras:
                camera.reader.stop()
            until = time.monotonic() + _LEAVE
            for camera in self._cameras:
                camera.reader.join(timeout=max(0.0, until - time.monotonic()))
        first = self._cameras[0].reader.error
        if first is not None and all(camera.reader.error for camera in self._cameras):
            raise first

    def _next(self) -> dict[int, Shot | Report] | None:
        """At most one item of each source; empty after a while without any, None when no more can come."""
        for camera in self._cameras:
            camera.reader.look()
        with self._ready:
            if not (items := self._items()):
                if all(camera.reader.done for camera in self._cameras):
                    return self._items() or None  # the last ones may have come with the thread's end
                self._ready.wait(_LOOK)
                items = self._items()
            return items

    def _items(self) -> dict[int, Shot | Report]:
        taken = ((number, camera.reader.take()) for number, camera in enumerate(self._cameras))
        return {number: item for number, item in taken if item is not None}

    def _work(self, items: dict[int, Shot | Report]) -> Iterator[Notice]:
        shots = {number: item for number, item in items.items() if isinstance(item, Shot)}
        for number, item in items.items():
            if isinstance(item, Report):
                yield from self._tell(self._cameras[number], item)
        if not shots:
            return
        for number in (number for number, shot in shots.items() if shot.fresh):
            yield from self._finish(self._cameras[number])
            if self._stream is not None:
                self._stream.reset([number])
        found = self._scores(shots)
        done = time.monotonic()
        for number, shot in shots.items():
            camera = self._cameras[number]
            camera.steps += 1
            if not self._fast:  # a file that is read ahead has no delay
                camera.delays.append(done - shot.arrived)
            for row in found[number]:
                yield from self._feed(camera, row)
            camera.view = View(
                time=shot.time,
                picture=shot.picture,
                scores=found[number][-1].scores if found[number] else camera.view.scores,
                event=camera.events.current,
            )

    def _tell(self, camera: _Camera, report: Report) -> Iterator[Notice]:
        if report.what in _FOLLOWED:
            yield from self._finish(camera)
        if report.what in ("lost", "stalled"):
            camera.view = replace(camera.view, scores=None)  # nobody knows what happens there now
        nothing_read = camera.reader.error is not None and not camera.reader.connections
        first = camera is self._cameras[0]
        if first and report.what == "lost" and nothing_read and all(other.reader.error for other in self._cameras):
            return  # it is raised
        times = f"{report.count} times" if report.count > 1 else ""
        why = f"{report.why} ({times})" if report.why and times else report.why or times
        yield self._notice(camera, report.what, report.time, why=why)

    def _scores(self, shots: dict[int, Shot]) -> dict[int, list[Row]]:
        """Of each source that has a frame the scores that are known with it."""
        if self._stream is not None:
            step = self._stream.step({number: shot.picture for number, shot in shots.items()})
            reaches = {n: self._cameras[n].span.feed(shot.time, shot.fresh) for n, shot in shots.items()}
            rows = zip(step.streams, step.scores, strict=True)
            return {n: [Row(reaches[n], scores, shots[n].fresh)] for n, scores in rows}
        found = {}
        for number, shot in shots.items():
            cut = test_crops(torch.from_numpy(shot.picture)[None], self._recognizer.preprocessing)[0, 0]
            found[number] = self._cameras[number].windows.feed(Taken(shot.time, cut, shot.fresh))
        return found

    def _feed(self, camera: _Camera, row: Row) -> Iterator[Notice]:
        for change in camera.events.feed(row.reach, row.scores, begins=row.begins):
            yield self._notice(camera, change.what, sum(row.reach) / 2, event=change.event)

    def _finish(self, camera: _Camera) -> Iterator[Notice]:
        """End what is under way; with windows, after a last one of the frames that lie in none."""
        for row in camera.windows.finish() if camera.windows else ():
            yield from self._feed(camera, row)
        for change in camera.events.finish():
            yield self._notice(camera, change.what, change.event.end, event=change.event)
        camera.view = replace(camera.view, event=None)

    def _warm_up(self) -> None:
        """Have what is loaded at first use loaded before frames arrive."""
        shape = self._recognizer.preprocessing.shape
        if self._stream is None:
            self._recognizer.scores(torch.zeros(1, self._recognizer.num_frames, 3, *shape, dtype=torch.uint8))
        else:
            self._stream.step({0: np.zeros((*shape, 3), np.uint8)})
            self._stream.reset()

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _notice(
        self, camera: _Camera, what: str, second: float, *, event: Event | None = None, why: str = ""
    ) -> Notice:
        at = datetime.now().astimezone()  # the clock may have been set, or the zone changed, since the watch began
        return Notice(what=what, source=camera.reader.source.name, time=second, at=at, event=event, why=why)
