"""Reading of one source in a thread of its own.

It samples frames by their times, keeps them until they are due, and reconnects.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np

from teinet.data.video.clocks import TICK, PlaybackClock
from teinet.data.video.frames import FrameStream
from teinet.data.video.reader import VideoReader
from teinet.data.video.source import Source
from teinet.detection.presentation import PresentationClock
from teinet.detection.sampler import FrameSampler
from teinet.errors import VideoError
from teinet.utils.addresses import hidden

ReportKind = Literal["connected", "lost", "stalled", "resumed", "restarted", "resized", "dropped", "finished"]

_MOST_WAITING = 256  # frames of a live source: 10 s at 25 frames a second
_MOST_AHEAD = 8  # frames that `fast` reads ahead
_WHOLE = 2  # frames that wait at full size
_EARLY = 0.5  # seconds; a frame that arrives less ahead of its time is given at once, as networks waver
_GRACE = 5.0  # seconds in which the model may catch up
_PAUSE_OF_REPORTS = 60.0  # seconds between two about dropped frames
_SOUND = 0.05  # share of its length by which a recording's sound may outlast its frames, if it states one for both
_PATIENCE = 10.0  # seconds after which a stalled stream counts as lost and is opened again
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new attempt; the last one repeats


@dataclass(eq=False)
class DueFrame:
    """A frame for the model.

    Args:
        time: seconds, as in `Notice`.
        image: (H, W, 3) uint8 RGB.
        reset: whether the state is reset before it.
        arrived: `time.monotonic` seconds when it was decoded.
        due: `time.monotonic` seconds when it is shown.
        is_early: whether it waits for that moment.
    """

    time: float
    image: np.ndarray
    reset: bool
    arrived: float
    due: float
    is_early: bool


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
        dropped: frames that were due, but that the model was too slow to take.
        broken: packets or frames that could not be decoded whole.
        restarts: resets of the state at jumps, gaps, new sizes and new connections.
        connections: number of times that the source was opened.
        stalls: number of times that it stalled.
        delay, delay_99: median and 99th percentile of the seconds from a frame's arrival to its scores (in a burst
            frames also wait until they are due), over the last 10,000 steps; None before the first, and of recordings
            read as fast as possible.
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
    """Reads the frames of one source, and gives them when they are due.

    Frames of a live source that arrive in bursts are due by their own times. If the model is too slow, the oldest
    frames are dropped, counted and reported; with `fast`, the reader of a recording or pipe waits instead.

    Args:
        frame_interval: seconds between the frames that are taken.
        ready: guards the queue, and is notified when it changes.
        began: `time.monotonic` when the watch began.
        shrink: scales an image (H, W, 3) uint8 that has to wait down to what the model needs.
        delay, stall, fast, wait: see `Watch`. A stream counts as lost 10 seconds after it has stalled.
        pauses: seconds before the first, second, ... new attempt to connect; the last one repeats.
        grace: seconds without a pause after which frames are dropped for which the model is more than `delay` late.

    Attributes:
        sampler: counts frames taken and skipped.
        counts: `Counts` without steps, skipped and delays.
        error: set if the source could not be read, or a recording not to its end.
    """

    def __init__(
        self,
        source: Source,
        *,
        frame_interval: float,
        ready: threading.Condition,
        began: float,
        shrink: Callable[[np.ndarray], np.ndarray] = lambda image: image,
        delay: float = 0.5,
        stall: float = 10.0,
        fast: bool = False,
        wait: bool = False,
        pauses: tuple[float, ...] = _PAUSES,
        grace: float = _GRACE,
    ):
        super().__init__(name=f"reads {source.name}", daemon=True)
        self.source = source
        self.sampler = FrameSampler(frame_interval)
        self.counts = Counts()
        self.error: VideoError | None = None
        self._ended = False
        self._recorded = source.kind == "file"
        self._second: float | None = None  # of the last frame
        self._shown = 0.0  # the time of the last frame that was given
        self._clock = PresentationClock()  # of a live source
        self._last_sign: float | None = None  # when a live source was opened or last had a frame; `time.monotonic`
        self._stall, self._stalled = max(stall, 2 * frame_interval), False
        self._ready, self._began, self._fast = ready, began, fast
        self._delay, self._grace, self._shrink = delay, grace, shrink
        self._wait, self._pauses = wait, pauses
        self._caught_up = began  # when the model last had nothing to take
        self._reported, self._report_due = 0, -math.inf  # dropped frames, and when to report the next ones
        self._reader = VideoReader(
            source,
            patience=self._stall + _PATIENCE,
            gap=self.sampler.gap,
            start=began,
            guess_times=fast and source.kind == "pipe",
        )
        self._stopped = threading.Event()
        self._waiting: deque[DueFrame | SourceReport] = deque()
        self._num_frames = 0  # of them

    def stop(self) -> None:
        """Let the thread end soon; waiting items stay."""
        self._stopped.set()
        with self._ready:
            self._ready.notify_all()

    @property
    def done(self) -> bool:
        """True if the source has ended for good and nothing waits. The caller must hold `ready`."""
        return self._ended and not self._waiting

    def due_in(self) -> float:
        """Return the seconds until `take` gives the next item; infinity if none waits. The caller must hold `ready`."""
        return self._due_in(self._waiting[0]) if self._waiting else math.inf

    def take(self) -> DueFrame | SourceReport | None:
        """Return the next item that is due, or None if there is none now. The caller must hold `ready`."""
        now = time.monotonic()
        if self.due_in() > 0:
            self._caught_up = now
        while not self._waits() and now - self._caught_up > self._grace and self._is_behind(now):
            self._drop_oldest()
        if self.counts.dropped > self._reported and now >= self._report_due:
            return self._report_dropped(now)
        if self._caught_up == now:
            return None
        item = self._waiting.popleft()
        is_live = not self._recorded and not self._waits()
        if isinstance(item, SourceReport):
            return replace(item, time=max(item.time, self._shown)) if is_live else item
        self._num_frames -= 1
        if is_live:
            item.time = self._time(item, now)
        if self._last_sign is not None:
            self._last_sign = now
        self._shown = item.time
        self._ready.notify_all()  # there is room
        return item

    def _due_in(self, item: DueFrame | SourceReport) -> float:
        if isinstance(item, SourceReport) or not item.is_early:
            return 0.0
        return item.due - time.monotonic()

    def _is_behind(self, now: float) -> bool:
        """Return whether the oldest frame should have been taken before, and the next one is due."""
        if self._num_frames < 2:
            return False
        oldest, following = islice(self._frames(), 2)
        return now - oldest.due > self._clock.lateness + self._delay and self._due_in(following) <= 0

    def _time(self, frame: DueFrame, now: float) -> float:
        """Return when a live source's frame is shown, later than the one before it."""
        second = frame.due - self._began
        if second > self._shown:
            return second
        return max(now - self._began, self._shown + TICK)  # the clock was set forward

    def _report_dropped(self, now: float) -> SourceReport:
        number, more = self.counts.dropped - self._reported, " more" * bool(self._reported)
        self._reported, self._report_due = self.counts.dropped, now + _PAUSE_OF_REPORTS
        return SourceReport("dropped", self._now(), f"{number}{more} frame{'s' * (number > 1)}: the model is too slow")

    def check_stall(self) -> None:
        """Report a live source that has stalled, which its own thread cannot while it waits for a frame."""
        with self._ready:
            if self._last_sign is None or self._stalled or self._num_frames:
                return
            quiet = time.monotonic() - self._last_sign
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
                self._ended = True
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
            self._last_sign, self._stalled = time.monotonic(), False
        try:
            with self._reader.open() as frames:
                self.counts.connections += 1
                self._recorded = frames.is_recorded
                self._report("connected")
                self.counts.restarts += self.counts.connections > 1
                with self._ready:
                    self._last_sign, self._stalled = None if self._recorded else time.monotonic(), False
                    self._clock = PresentationClock()
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
                self._last_sign = None

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
            self.counts.broken = broken + frames.num_broken
            size = self.sampler.size
            verdict = self.sampler.judge(frame.time, frame.is_discontinuity, frame.size)
            jumps = verdict == "reset" and frame.size == size
            ahead = self._note_arrival(frame.time, arrived, jumps)
            if verdict == "reset" and size is not None:
                if not jumps:
                    self._report("resized", f"{size[0]}x{size[1]} to {frame.size[0]}x{frame.size[1]}")
                else:
                    self._report("restarted", "its timestamps jumped or paused")
                self.counts.restarts += 1
            if verdict != "skip":
                image = frame.image if self._num_frames < _WHOLE else self._shrink(frame.image)
                is_early = ahead > _EARLY and not self._waits()
                self._put(DueFrame(frame.time, image, verdict == "reset", arrived, arrived + ahead, is_early))

    def _note_arrival(self, second: float, now: float, jumps: bool) -> float:
        """Note the arrival of a frame, whose time may have jumped; return the seconds until it is due."""
        with self._ready:
            if self._last_sign is None:
                return 0.0
            if self._stalled:
                self._stalled = False
                self._report("resumed", f"after {now - self._last_sign:.1f} s without a frame")
            self._last_sign = now
            if jumps:
                self._clock = PresentationClock()
            before = self._clock.shift
            ahead = self._clock.arrived(second, now - self._began)
            for frame in self._frames() if self._clock.shift != before else ():
                frame.due += self._clock.shift - before
            return ahead

    def _put(self, frame: DueFrame) -> None:
        most = _MOST_AHEAD if self._waits() else _MOST_WAITING
        with self._ready:
            if self._num_frames >= most:
                self._ready.wait_for(lambda: self._num_frames < most or self._stopped.is_set())
                self._clock.restart()  # it was this thread that paused, not the source
            self._waiting.append(frame)
            self._num_frames += 1
            self._ready.notify_all()

    def _waits(self) -> bool:
        """Return whether it is read as fast as possible, and waits for the model."""
        return self._fast and self._ends()

    def _frames(self) -> Iterator[DueFrame]:
        return (item for item in self._waiting if isinstance(item, DueFrame))

    def _drop_oldest(self) -> None:
        oldest, following = islice(self._frames(), 2)
        self._waiting.remove(oldest)
        self._num_frames -= 1
        self.counts.dropped += 1
        following.reset |= oldest.reset

    def _report(self, kind: ReportKind, reason: str = "") -> None:
        with self._ready:
            self._waiting.append(SourceReport(kind, self._now(), reason))
            self._ready.notify_all()
