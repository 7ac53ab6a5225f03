"""Event detection in several live sources with one recognizer: each step takes the sources that have a frame."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

import numpy as np

from teinet.data.transforms import shrink_frame
from teinet.data.video.source import Source
from teinet.detection.detector import StreamDetectors
from teinet.detection.events import Change, Event, Rules
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import Recognizes, interval_for
from teinet.detection.source_thread import Counts, DueFrame, ReportKind, SourceReport, SourceThread
from teinet.errors import ConfigError

_KEPT = 10_000  # delays, for their percentiles
_POLL = 0.1  # seconds between checks whether to stop
_JOIN_TIMEOUT = 2.0  # seconds for all readers to end
_ENDS_EVENTS = ("resized", "restarted", "lost", "stalled", "finished")  # the current event ends with these

NoticeKind = Literal["begin", "end"] | ReportKind


@dataclass(frozen=True, kw_only=True)
class Notice:
    """An event began or ended, or a source changed.

    Args:
        type: "begin", "end" of an event; of a source "connected" (it sends frames), "lost" (the connection broke),
            "stalled" (open, but sends no frames), "resumed" (sends frames again), "restarted" (timestamps jumped or
            paused) and "resized" (another frame size), which reset the state, "dropped" (the model is too slow),
            "finished".
        source: its name.
        time: seconds: in a recording by its own clock, 0 before the first frame; else since the watch began.
        wall_time: time of day, with its zone.
        event: the event that began or ended, else None.
        reason: in words, may be empty.
    """

    type: NoticeKind
    source: str
    time: float
    wall_time: datetime
    event: Event | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the notice as JSON values."""
        values = {
            "type": self.type,
            "source": self.source,
            "wall_time": self.wall_time.isoformat(timespec="milliseconds"),
        }
        if self.event is not None:
            event = self.event.to_dict()
            if self.type == "begin":
                del event["end"]
            return {**values, **event}
        return {**values, "time": round(self.time, 3), **({"reason": self.reason} if self.reason else {})}


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The current state of a source, for a display.

    Args:
        time: seconds, as in `Notice`; None before the first frame.
        image: (H, W, 3) uint8 RGB, the last frame that the model took, or None; one that had to wait may be scaled down
            to what the model needs.
        scores: (classes,); None before the first ones, and while the source is lost or stalled.
        event: the current event, or None.
    """

    time: float | None = None
    image: np.ndarray | None = None
    scores: np.ndarray | None = None
    event: Event | None = None


class _WatchedSource:
    """One source of a watch: its thread, its view, and counts of its frames."""

    def __init__(self, thread: SourceThread):
        self.thread = thread
        self.view = View()
        self.steps = 0
        self.delays: deque[float] = deque(maxlen=_KEPT)


class Watch:
    """Detects events in several sources: iterating yields a `Notice` for each event and change, until all sources end.

    A live source is played by its own clock: frames that arrive in bursts are shown when they are due. If the model is
    too slow, the oldest frames that are due are dropped, counted and reported. A lost camera or stream is opened again
    after growing pauses, without limit, while the others continue. Nothing but the sources' addresses is contacted.

    Args:
        recognizer: a causal one takes one frame at a time, a bidirectional one scores overlapping windows.
        sources: cameras, addresses or files as `Source.parse` reads them; each name once.
        frame_interval, rules: see `Detector`.
        delay: seconds by which the model may be late, above 0. After 5 seconds in which it has not caught up with a
            source, that source's frames for which it is later are dropped.
        fast: read recordings as fast as possible and drop no frame, instead of at their own speed.
        wait: wait for sources that are missing at first, too.
        stall: seconds without a frame after which an open live source counts as stalled, above 0; it stays open. Twice
            the frame interval is the minimum.
        scoring: smoothing, stride, windows, state: see `make_scorer`.

    Raises:
        ConfigError: no source or one given twice, a value out of its range, or an unknown frame interval.
        VideoError: at the end of iterating, if no source could be read (recordings: to the end); of the first source.

    Attributes:
        class_names: in the order of the scores.
        sources: the sources' names.
        frame_interval: seconds between the frames that the model takes.
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
            raise ConfigError("no source to watch; name a camera, an address or a file")
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"the source {doubled} is given twice; give one of them another name: NAME={doubled}")
        if not 0 < delay < math.inf:
            raise ConfigError(f"delay must be above 0 s and finite, got {delay:g}")
        if not stall > 0:
            raise ConfigError(f"stall must be above 0 s, got {stall:g}")
        self.frame_interval = FrameSampler(interval_for(recognizer, frame_interval)).interval  # which checks it
        self._streams = StreamDetectors(recognizer, len(found), rules=rules, **scoring)
        self.state_bytes = self._streams.scorer.state_bytes
        self._ready = threading.Condition()
        self.class_names = tuple(recognizer.class_names)
        self.sources = tuple(names)
        began = time.monotonic()
        how = {"frame_interval": self.frame_interval, "delay": delay, "stall": stall, "fast": fast, "wait": wait}
        shrink = partial(shrink_frame, preprocessing=recognizer.preprocessing)
        threads = [SourceThread(source, ready=self._ready, began=began, shrink=shrink, **how) for source in found]
        self._sources = [_WatchedSource(thread) for thread in threads]
        self._fast = fast
        self._stopping = False

    def stop(self) -> None:
        """End the iteration after the current step; may be called from another thread or a signal handler."""
        self._stopping = True

    def counts(self, number: int) -> Counts:
        """Return the counts of a source's frames so far."""
        source = self._sources[number]
        delays = list(source.delays)
        half, most = np.percentile(delays, [50, 99]).tolist() if delays else (None, None)
        skipped = source.thread.sampler.num_skipped
        return replace(source.thread.counts, steps=source.steps, skipped=skipped, delay=half, delay_99=most)

    def view(self, number: int) -> View:
        """Return the current state of a source; may be called from another thread."""
        return self._sources[number].view

    def __iter__(self) -> Iterator[Notice]:
        self._streams.scorer.warm_up()  # before frames arrive
        for source in self._sources:
            source.thread.start()
        try:
            while not self._stopping:
                items = self._next()
                if items is None:
                    break
                yield from self._work(items)
            for number in range(len(self._sources)):
                yield from self._finish(number)
        finally:
            for source in self._sources:
                source.thread.stop()
            until = time.monotonic() + _JOIN_TIMEOUT
            for source in self._sources:
                source.thread.join(timeout=max(0.0, until - time.monotonic()))
        first = self._sources[0].thread.error
        if first is not None and all(source.thread.error for source in self._sources):
            raise first

    def _next(self) -> dict[int, DueFrame | SourceReport] | None:
        """Return at most one item of each source: none after a timeout, None when no more can come."""
        for source in self._sources:
            source.thread.check_stall()
        with self._ready:
            if not (items := self._items()):
                if all(source.thread.done for source in self._sources):
                    return None
                self._ready.wait(min(_POLL, *(source.thread.due_in() for source in self._sources)))
                items = self._items()
            return items

    def _items(self) -> dict[int, DueFrame | SourceReport]:
        taken = ((number, source.thread.take()) for number, source in enumerate(self._sources))
        return {number: item for number, item in taken if item is not None}

    def _work(self, items: dict[int, DueFrame | SourceReport]) -> Iterator[Notice]:
        frames = {number: item for number, item in items.items() if isinstance(item, DueFrame)}
        for number, item in items.items():
            if isinstance(item, SourceReport):
                yield from self._take_report(number, item)
        if not frames:
            return
        updates = self._streams.push({n: (frame.time, frame.image, frame.reset) for n, frame in frames.items()})
        done = time.monotonic()
        for number, frame in frames.items():
            source, (rows, changes) = self._sources[number], updates[number]
            source.steps += 1
            if not self._fast:  # a file that is read ahead has no delay
                source.delays.append(done - frame.arrived)
            yield from self._notices(source, changes)
            source.view = View(
                time=frame.time,
                image=frame.image,
                scores=rows[-1].scores if rows else source.view.scores,
                event=self._streams.events[number].current,
            )

    def _take_report(self, number: int, report: SourceReport) -> Iterator[Notice]:
        source = self._sources[number]
        if report.type in _ENDS_EVENTS:
            yield from self._finish(number)
        if report.type in ("lost", "stalled"):
            source.view = replace(source.view, scores=None)  # the current scores are unknown
        yield self._notice(source, report.type, report.time, reason=report.reason)

    def _finish(self, number: int) -> Iterator[Notice]:
        """End the current event; with windows, score the frames that are in none first."""
        source = self._sources[number]
        yield from self._notices(source, self._streams.finish(number)[1])
        source.view = replace(source.view, event=None)

    def _notices(self, source: _WatchedSource, changes: Sequence[Change]) -> Iterator[Notice]:
        for change in changes:
            yield self._notice(source, change.type, change.event.end, change.event)

    @staticmethod
    def _notice(
        source: _WatchedSource, kind: NoticeKind, second: float, event: Event | None = None, reason: str = ""
    ) -> Notice:
        now = datetime.now().astimezone()  # the clock may have been set, or the zone changed, since the watch began
        return Notice(
            type=kind, source=source.thread.source.name, time=second, wall_time=now, event=event, reason=reason
        )
