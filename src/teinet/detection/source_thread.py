"""Reading of one source in a thread of its own: samples frames by their times, keeps few, and reconnects."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from teinet.data.video.frames import TICK, FrameStream, PlaybackClock
from teinet.data.video.reader import VideoReader
from teinet.data.video.source import Source, hidden
from teinet.detection.sampler import FrameSampler
from teinet.errors import VideoError

ReportKind = Literal["connected", "lost", "stalled", "resumed", "restarted", "resized", "finished"]

_MAX_WAITING = 100_000  # frames, whatever the delay
_SOUND = 0.05  # share of its length by which a recording's sound may outlast its frames, if it states one for both
_PATIENCE = 10.0  # seconds after which a stalled stream counts as lost and is opened again
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new attempt; the last one repeats


@dataclass(frozen=True, eq=False)
class DueFrame:
    """A frame for the model.

    Args:
        time: seconds, as in `Notice`.
        image: (H, W, 3) uint8 RGB.
        reset: whether the state is reset before it.
        arrived: `time.monotonic` seconds when it was decoded.
    """

    time: float
    image: np.ndarray
    reset: bool
    arrived: float


@dataclass(frozen=True)
class SourceReport:
    """A change of the source; `type`, `time` and `reason` as in `Notice`."""

    type: ReportKind
    time: float
    reason: str = ""


@dataclass(kw_only=True)
class Counts:
    """Counts of a source's frames.

    Args:
        steps: frames that the model took.
        skipped: frames between them, which the frame interval leaves out.
        dropped: frames that were due but waited too long.
        broken: packets or frames that could not be decoded whole.
        restarts: resets of the state at jumps, gaps, new sizes and new connections.
        connections: number of times that the source was opened.
        stalls: number of times that it stalled.
        delay, delay_99: median and 99th percentile of the seconds from a frame's arrival to its scores, over the last
            10,000 steps; None before the first, and of recordings read as fast as possible.
    """

    steps: int = 0
    skipped: int = 0
    dropped: int = 0
    broken: int = 0
    restarts: int = 0
    connections: int = 0
    stalls: int = 0
    delay: float | None = None
    delay_99: float | None = None


class SourceThread(threading.Thread):
    """Reads the frames of one source when they are due.

    If the model is too slow, the oldest waiting frames are dropped and counted; with `fast`, the reader of a recording
    or pipe waits instead. At most one report of restarts and one of new sizes wait.

    Args:
        frame_interval: seconds between the frames that are taken.
        ready: guards the queue, and is notified when it changes.
        began: `time.monotonic` when the watch began.
        delay, stall, fast, wait: see `Watch`. As many frames wait as fit into the delay; a stream counts as lost 10
            seconds after it has stalled.
        pauses: seconds before the first, second, ... new attempt to connect; the last one repeats.

    Attributes:
        sampler: counts frames taken and skipped.
        counts: `Counts` without steps, skipped and delays.
        done: whether the source has ended for good.
        error: set if the source could not be read, or a recording not to its end.
    """

    def __init__(
        self,
        source: Source,
        *,
        frame_interval: float,
        ready: threading.Condition,
        began: float,
        delay: float = 0.5,
        stall: float = 10.0,
        fast: bool = False,
        wait: bool = False,
        pauses: tuple[float, ...] = _PAUSES,
    ):
        super().__init__(name=f"reads {source.name}", daemon=True)
        self.source = source
        self.sampler = FrameSampler(frame_interval)
        self.counts = Counts()
        self.error: VideoError | None = None
        self.done = False
        self._recorded = source.kind == "file"
        self._second: float | None = None  # of the last frame
        self._shown = 0.0  # the time that was reported for it
        self._last_arrival: float | None = None  # of a live source's frame, or its opening; `time.monotonic` seconds
        self._stall, self._stalled = max(stall, 2 * frame_interval), False
        self._ready, self._began, self._fast = ready, began, fast
        self._most = max(1, round(min(delay / frame_interval, _MAX_WAITING)))
        self._delay = delay
        self._wait, self._pauses = wait, pauses
        self._reader = VideoReader(
            source,
            patience=self._stall + _PATIENCE,
            gap=self.sampler.gap,
            start=began,
            guess_times=fast and source.kind == "pipe",
        )
        self._stopped = threading.Event()
        self._waiting: deque[DueFrame | SourceReport] = deque()
        self._num_frames = 0

    def stop(self) -> None:
        """Let the thread end soon; waiting items stay."""
        self._stopped.set()
        with self._ready:
            self._ready.notify_all()

    def take(self) -> DueFrame | SourceReport | None:
        """Return the next item, or None if there is none now. The caller must hold `ready`."""
        if not self._waiting:
            return None
        if not (self._fast and self._ends()):
            while self._num_frames > 1 and self._oldest().arrived < time.monotonic() - self._delay:
                self._drop_oldest()
        item = self._waiting.popleft()
        if isinstance(item, DueFrame):
            self._num_frames -= 1
            self._ready.notify_all()  # there is room
        return item

    def check_stall(self) -> None:
        """Report a live source that has stalled, which its own thread cannot while it waits for a frame."""
        with self._ready:
            if self._last_arrival is None or self._stalled or self._num_frames:  # it may be waiting for the model
                return
            quiet = time.monotonic() - self._last_arrival
            if quiet > self._stall:
                self._stalled = True
                self.counts.stalls += 1
                self._report("stalled", f"no frame for {quiet:.1f} s")

    def run(self) -> None:
        """Read until the source ends or `stop` is called."""
        failures = 0
        try:
            while not self._stopped.is_set():
                before = self.sampler.num_taken
                try:
                    self._read()
                    if self._ends():
                        self._report("finished")
                        return
                    reason = "it ended"
                except VideoError as error:
                    reason = error.reason
                    if self._ends() if self.counts.connections else not self._wait:
                        self._give_up(error)
                        return
                if self._stopped.is_set():
                    return
                failures = 1 if self.sampler.num_taken > before else failures + 1
                pause = self._pauses[min(failures, len(self._pauses)) - 1]
                self._report("lost", f"{reason}; trying again in {pause:g} s")
                self._stopped.wait(pause)
        except Exception as error:  # no error may end a watch silently
            self._give_up(
                VideoError(self.source.name, f"reading stopped with an unexpected error ({hidden(repr(error))})")
            )
        finally:
            with self._ready:
                self.done = True
                self._ready.notify_all()

    def _give_up(self, error: VideoError) -> None:
        self.error = error
        self._report("lost", f"{error.reason}; given up")

    def _ends(self) -> bool:
        """Return whether it ends for good: recordings do, and pipes, which may carry a recording."""
        return self._recorded or self.source.kind == "pipe"

    def _now(self) -> float:
        """Return the time of a report: in a recording that of its last frame, else seconds since the watch began."""
        if self._recorded:
            return self._second or 0.0
        now = time.monotonic() - self._began
        return max(now, self._second or 0.0) if self.source.kind == "pipe" else now  # may run ahead of the clock

    def _read(self) -> None:
        if self.source.kind != "file":
            self._last_arrival, self._stalled = time.monotonic(), False
        try:
            with self._reader.open() as frames:
                self.counts.connections += 1
                self._recorded = frames.is_recorded
                self._report("connected")
                self.counts.restarts += self.counts.connections > 1
                with self._ready:
                    self._last_arrival, self._stalled = None if self._recorded else time.monotonic(), False
                taken, broken = self.sampler.num_taken, self.counts.broken
                try:
                    self._sample(frames)
                finally:
                    self.counts.broken = broken + frames.num_broken
                if self._stopped.is_set():
                    return
                if self._ends() and self.sampler.num_taken == taken:
                    raise VideoError(self.source.name, "none of its frames can be decoded")
                length = frames.stated_length if frames.is_ordered else None  # else its end is unknown
                if length is not None:
                    margin = max(_SOUND * length if frames.length_includes_sound else 0.0, self.sampler.gap)
                    if (self._second or 0.0) < length - margin:
                        raise VideoError(self.source.name, f"ended early, at {self._second:.1f} of {length:.1f} s")
        finally:
            with self._ready:
                self._last_arrival = None

    def _sample(self, frames: FrameStream) -> None:
        """Queue the frames that are due."""
        self.sampler.restart()
        playback, broken = None, self.counts.broken
        if self._recorded and not self._fast:
            playback = PlaybackClock(time.monotonic(), gap=self.sampler.gap, interval=frames.frame_interval)
        for frame in frames:
            if self._stopped.is_set():
                return
            if playback is not None and self._stopped.wait(max(0.0, playback.due(frame.time) - time.monotonic())):
                return
            arrived, self._second = time.monotonic(), frame.time
            self._note_arrival(arrived)
            self.counts.broken = broken + frames.num_broken
            size = self.sampler.size
            verdict = self.sampler.judge(frame.time, frame.is_discontinuity, frame.size)
            if verdict == "reset" and size is not None:
                if frame.size != size:
                    self._report("resized", f"{size[0]}x{size[1]} to {frame.size[0]}x{frame.size[1]}")
                else:
                    self._report("restarted", "its timestamps jumped or paused")
                self.counts.restarts += 1
            if verdict != "skip":
                second = frame.time
                if not self._ends():  # frames that a stream sends in a burst have the time of their arrival
                    self._shown = second = max(min(second, arrived - self._began), self._shown + TICK)
                self._put(DueFrame(second, frame.image, verdict == "reset", arrived))

    def _note_arrival(self, now: float) -> None:
        with self._ready:
            if self._last_arrival is None:
                return
            if self._stalled:
                self._stalled = False
                self._report("resumed", f"after {now - self._last_arrival:.1f} s without a frame")
            self._last_arrival = now

    def _put(self, frame: DueFrame) -> None:
        with self._ready:
            waits = self._fast and self._ends()
            while waits and self._num_frames >= self._most and not self._stopped.is_set():
                self._ready.wait()
            if waits and self._last_arrival is not None:
                self._last_arrival = time.monotonic()  # the model was too slow, not the source
            self._waiting.append(frame)
            self._num_frames += 1
            while self._num_frames > self._most:
                self._drop_oldest()
            self._ready.notify_all()

    def _oldest(self) -> DueFrame:
        return next(item for item in self._waiting if isinstance(item, DueFrame))

    def _drop_oldest(self) -> None:
        oldest = self._oldest()
        self._waiting.remove(oldest)
        self._num_frames -= 1
        self.counts.dropped += 1
        if oldest.reset:  # the next one resets the state in its place
            place = self._waiting.index(self._oldest())
            self._waiting[place] = replace(self._waiting[place], reset=True)

    def _report(self, kind: ReportKind, reason: str = "") -> None:
        with self._ready:
            if kind in ("restarted", "resized"):  # at most one of each waits
                waiting = [item for item in self._waiting if isinstance(item, SourceReport) and item.type == kind]
                if waiting:
                    self._waiting.remove(waiting[0])
            self._waiting.append(SourceReport(kind, self._now(), reason))
            self._ready.notify_all()
