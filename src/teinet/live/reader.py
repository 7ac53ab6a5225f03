"""Reads one source in its own thread: picks frames by their times, keeps few, comes back when a source is lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import av
import numpy as np

from teinet.data.picture import Converter, is_transposed
from teinet.data.source import Source
from teinet.errors import VideoError
from teinet.inference.pace import Pace

_JUMP = 2.0  # seconds between two frames above which a live source's clock is set anew
_TICK = 1e-3
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new try, the last one from then on


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame that the network is to see.

    Args:
        time: seconds: in a file, of its own clock; else since the watch began.
        picture: (H, W, 3) uint8 RGB.
        fresh: what was seen before does not belong to it.
        arrived: when it was decoded, or shown by a file's own clock; `time.monotonic` seconds.
    """

    time: float
    picture: np.ndarray
    fresh: bool
    arrived: float


@dataclass(frozen=True)
class Report:
    """What became of the source: `what` as in `Notice`."""

    what: str
    time: float
    why: str = ""


class Reader(threading.Thread):
    """A source's frames as they are due.

    Few frames wait; when the network is late the oldest are dropped and counted, unless the source is a file that is to
    be read as fast as possible: then the reader waits instead.

    Args:
        source: what to read.
        spacing: seconds between the frames that are taken.
        ready: is notified, and guards the queue.
        began: `time.monotonic` when the watch began.
        delay: seconds that a frame may wait while a newer one is there, above 0; as many as fit into it may wait.
        fast: read a recording as fast as it can be, and drop nothing.
        patient: try again also when the source cannot be opened at first.
        pauses: seconds before the first, second, ... new try; the last one from then on.

    Attributes:
        pace: what was taken and skipped so far.
        dropped: frames that waited too long.
        restarts: times at which what was seen before no longer counted: jumps, gaps, new sizes, new connections.
        broken: packets and frames that could not be decoded whole.
        connections: how often it was opened.
        error: why it could not be read at all, else None.
    """

    def __init__(
        self,
        source: Source,
        *,
        spacing: float,
        ready: threading.Condition,
        began: float,
        delay: float = 0.5,
        fast: bool = False,
        patient: bool = False,
        pauses: tuple[float, ...] = _PAUSES,
    ):
        super().__init__(name=f"reads {source.name}", daemon=True)
        self.source = source
        self.pace = Pace(spacing)
        self.dropped = self.broken = self.connections = self.restarts = 0
        self.error: VideoError | None = None
        self.done = False
        self._recorded = False
        self._ready, self._began, self._fast = ready, began, fast
        self._most = max(1, round(delay / spacing))
        self._delay = delay
        self._patient, self._pauses = patient, pauses
        self._stopped = threading.Event()
        self._waiting: deque[Shot | Report] = deque()
        self._shots = 0

    def stop(self) -> None:
        """Let the thread end soon; what is waiting stays."""
        self._stopped.set()
        with self._ready:
            self._ready.notify_all()

    def take(self) -> Shot | Report | None:
        """What comes next, None for nothing at present. The caller holds `ready`."""
        if not self._waiting:
            return None
        if not (self._fast and self._ends()):
            while self._shots > 1 and self._oldest().arrived < time.monotonic() - self._delay:
                self._drop_oldest()
        item = self._waiting.popleft()
        if isinstance(item, Shot):
            self._shots -= 1
            self._ready.notify_all()  # there is room
        return item

    def run(self) -> None:
        """Read until the source ends or `stop` is called."""
        failures = 0
        try:
            while not self._stopped.is_set():
                before = self.pace.taken
                try:
                    self._read()
                    if self._ends():
                        self._report("finished")
                        return
                    why = "it ended"
                except VideoError as error:
                    why = error.reason
                    if not (self.connections or self._patient):
                        self.error = error
                        return
                    if self.connections and self._ends():
                        self._report("finished", why)
                        return
                if self._stopped.is_set():
                    return
                failures = 1 if self.pace.taken > before else failures + 1
                pause = self._pauses[min(failures, len(self._pauses)) - 1]
                self._report("lost", f"{why}; trying again in {pause:g} s")
                self._stopped.wait(pause)
        except Exception as error:  # nothing may end a watch without a word
            self.error = VideoError(self.source.name, f"could not be read further ({error!r})")
        finally:
            with self._ready:
                self.done = True
                self._ready.notify_all()

    def _ends(self) -> bool:
        return self.source.kind in ("file", "pipe") or self._recorded

    def _read(self) -> None:
        with self.source.open() as (container, stream):
            self.connections += 1
            # what has an end is a recording, wherever it lies
            self._recorded = self.source.kind in ("file", "stream") and bool(container.duration)
            self._report("connected")
            self.restarts += self.connections > 1
            self.pace.forget()
            frames = _Frames(container, stream, live=not self._recorded, since=lambda: time.monotonic() - self._began)
            shown = time.monotonic()  # when the second 0 of a recording is shown
            convert: Converter | None = None
            fresh = True
            for frame, second in frames:
                if self._stopped.is_set():
                    return
                if (
                    self._recorded
                    and not self._fast
                    and self._stopped.wait(max(0.0, shown + second - time.monotonic()))
                ):
                    return
                arrived = time.monotonic()
                self.broken, frames.broken = self.broken + frames.broken, 0
                if frames.jumped:
                    self.pace.forget()
                verdict = self.pace.judge(second)
                if verdict == "restart" or frames.jumped:
                    frames.jumped = False
                    self._report("restarted", "its times jumped or paused")
                    self.restarts += not fresh
                    fresh = True
                if verdict == "skip":
                    continue
                size = (frame.width, frame.height) if is_transposed(frame) else (frame.height, frame.width)
                if convert is None or (convert.height, convert.width) != size:
                    if convert is not None:
                        self._report("resized", f"{convert.width}x{convert.height} to {size[1]}x{size[0]}")
                        self.restarts += not fresh
                        fresh = True
                    convert = Converter(*size)
                picture = np.empty((*size, 3), np.uint8)
                convert(frame, picture)
                self._put(Shot(second, picture, fresh, arrived))
                fresh = False

    def _put(self, shot: Shot) -> None:
        with self._ready:
            waits = self._fast and self._ends()
            while waits and self._shots >= self._most and not self._stopped.is_set():
                self._ready.wait()
            self._waiting.append(shot)
            self._shots += 1
            while self._shots > self._most:
                self._drop_oldest()
            self._ready.notify_all()

    def _oldest(self) -> Shot:
        return next(item for item in self._waiting if isinstance(item, Shot))

    def _drop_oldest(self) -> None:
        oldest = self._oldest()
        self._waiting.remove(oldest)
        self._shots -= 1
        self.dropped += 1
        if oldest.fresh:  # the one after it begins anew in its place
            place = self._waiting.index(self._oldest())
            self._waiting[place] = replace(self._waiting[place], fresh=True)

    def _report(self, what: str, why: str = "") -> None:
        with self._ready:
            self._waiting.append(Report(what, time.monotonic() - self._began, why))
            self._ready.notify_all()


class _Frames:
    """A connection's frames with their seconds; broken packets are counted and passed over.

    A recording keeps its own clock. A live source's runs on from the second at which the connection gave its first
    frame; where its timestamps jump, it is set anew by ours, so that times never run backwards.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        *,
        live: bool,
        since: Callable[[], float],
    ):
        self.broken = 0
        self.jumped = False
        self._container, self._stream, self._live, self._since = container, stream, live, since
        self._base = float(stream.time_base or 0)
        self._begin = (container.start_time or 0) / av.time_base
        self._apart = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        self._stamp: float | None = None  # of the frame before, by the source's clock
        self._offset = 0.0

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, float]]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                if isinstance(error, av.error.EOFError | av.error.ExitError | TimeoutError):
                    raise
                self.broken += 1
                continue
            for frame in frames:
                self.broken += bool(frame.is_corrupt)
                yield frame, self._second(frame)

    def _second(self, frame: av.VideoFrame) -> float:
        before = self._stamp
        if frame.pts is not None and self._base:
            self._stamp = frame.pts * self._base
        elif self._live:
            self._stamp = self._since()
        else:
            self._stamp = self._begin if before is None else before + self._apart
        if not self._live:
            return self._stamp - self._begin
        if before is None or not 0 < self._stamp - before <= _JUMP:
            self.jumped = before is not None
            self._offset = max(self._since(), (before or 0) + self._offset + _TICK) - self._stamp
        return self._stamp + self._offset
