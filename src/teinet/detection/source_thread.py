"""Reads one source in its own thread: samples frames by their times, keeps few, reconnects when a source is lost."""

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

Told = Literal["connected", "lost", "stalled", "resumed", "restarted", "resized", "finished"]

_WAITING = 100_000  # frames that may wait at most, however long each may
_SOUND = 0.05  # of a recording's length, by which its sound may outlast its frames where it states one for both
_PATIENCE = 10.0  # seconds after which a stalled stream counts as lost, and is opened again
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new try, the last one from then on


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame that the network is to see: its second as in `Notice`, the image (H, W, 3) uint8, when it was decoded."""

    time: float
    image: np.ndarray
    reset: bool  # the state does not carry over to it
    arrived: float  # `time.monotonic` seconds


@dataclass(frozen=True)
class Report:
    """What became of the source: `what`, `time` and `why` as in `Notice`."""

    what: Told
    time: float
    why: str = ""


@dataclass(kw_only=True)
class Counts:
    """What became of a source's frames.

    Args:
        steps: frames that the network saw.
        skipped: frames between them, which the frame interval leaves out.
        dropped: frames that were due, but waited too long.
        broken: packets or frames that could not be decoded whole.
        restarts: resets of the state at jumps, gaps, new sizes, new connections.
        connections: how often the source was opened.
        stalls: how often it sent no frame, or did not open, for long.
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
    """Reads one source's frames as they are due.

    Few frames wait. When the network is late the oldest are dropped and counted, or, if `fast`, the reader of a
    recording or pipe waits instead. One report of restarts and one of new sizes wait at most.

    Args:
        frame_interval: seconds between the frames that are taken.
        ready: is notified, and guards the queue.
        began: `time.monotonic` when the watch began.
        delay, stall, fast, wait: as `Watch` takes them. As many frames wait as fit into the delay; a stream counts
            as lost 10 seconds after it has stalled.
        pauses: seconds before the first, second, ... new try; the last one from then on.

    Attributes:
        sampler: counts frames taken and skipped.
        counts: the others of `Counts`, without steps and delays.
        done: whether no more comes.
        error: why it could not be read at all or, as a recording, to its end; else None.
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
        self._shown = 0.0  # what was said to be its second
        self._heard: float | None = None  # when a live source last gave a frame, or was asked; `time.monotonic` seconds
        self._stall, self._stalled = max(stall, 2 * frame_interval), False
        self._ready, self._began, self._fast = ready, began, fast
        self._most = max(1, round(min(delay / frame_interval, _WAITING)))
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

    def look(self) -> None:
        """Find out whether a live source has stalled, which its own thread cannot while it waits for a frame."""
        with self._ready:
            if self._heard is None or self._stalled or self._shots:  # while frames wait it may wait for their end
                return
            quiet = time.monotonic() - self._heard
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
                    why = "it ended"
                except VideoError as error:
                    why = error.reason
                    if self._ends() if self.counts.connections else not self._wait:
                        self._give_up(error)
                        return
                if self._stopped.is_set():
                    return
                failures = 1 if self.sampler.num_taken > before else failures + 1
                pause = self._pauses[min(failures, len(self._pauses)) - 1]
                self._report("lost", f"{why}; trying again in {pause:g} s")
                self._stopped.wait(pause)
        except Exception as error:  # nothing may end a watch without a word
            self._give_up(VideoError(self.source.name, f"could not be read further ({hidden(repr(error))})"))
        finally:
            with self._ready:
                self.done = True
                self._ready.notify_all()

    def _give_up(self, error: VideoError) -> None:
        self.error = error
        self._report("lost", f"{error.reason}; given up")

    def _ends(self) -> bool:
        """Whether it ends for good; a pipe may be a recording, as fast as it can be read."""
        return self._recorded or self.source.kind == "pipe"

    def _now(self) -> float:
        """The second that a report is of: in a recording its last frame's, else that since the watch began."""
        if self._recorded:
            return self._second or 0.0
        now = time.monotonic() - self._began
        return max(now, self._second or 0.0) if self.source.kind == "pipe" else now  # what runs ahead of our clock

    def _read(self) -> None:
        if self.source.kind != "file":
            self._heard, self._stalled = time.monotonic(), False
        try:
            with self._reader.open() as frames:
                self.counts.connections += 1
                self._recorded = frames.is_recorded
                self._report("connected")
                self.counts.restarts += self.counts.connections > 1
                with self._ready:
                    self._heard, self._stalled = None if self._recorded else time.monotonic(), False
                taken, broken = self.sampler.num_taken, self.counts.broken
                try:
                    self._sample(frames)
                finally:
                    self.counts.broken = broken + frames.num_broken
                if self._stopped.is_set():
                    return
                if self._ends() and self.sampler.num_taken == taken:
                    raise VideoError(self.source.name, "none of its frames can be decoded")
                length = frames.stated_length if frames.is_ordered else None  # else nobody can say where it ends
                if length is not None:
                    margin = max(_SOUND * length if frames.length_includes_sound else 0.0, self.sampler.gap)
                    if (self._second or 0.0) < length - margin:
                        raise VideoError(self.source.name, f"connection lost at {self._second:.1f} of {length:.1f} s")
        finally:
            with self._ready:
                self._heard = None

    def _sample(self, frames: FrameStream) -> None:
        """Take the frames that are due."""
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
            self._hear(arrived)
            self.counts.broken = broken + frames.num_broken
            size = self.sampler.size
            verdict = self.sampler.judge(frame.time, frame.is_discontinuity, frame.size)
            if verdict == "reset" and size is not None:
                if frame.size != size:
                    self._report("resized", f"{size[0]}x{size[1]} to {frame.size[0]}x{frame.size[1]}")
                else:
                    self._report("restarted", "its times jumped or paused")
                self.counts.restarts += 1
            if verdict != "skip":
                second = frame.time
                if not self._ends():  # what a stream sends at once, ahead of our clock, has the time at which it came
                    self._shown = second = max(min(second, arrived - self._began), self._shown + TICK)
                self._put(Shot(second, frame.image, verdict == "reset", arrived))

    def _hear(self, now: float) -> None:
        with self._ready:
            if self._heard is None:
                return
            if self._stalled:
                self._stalled = False
                self._report("resumed", f"after {now - self._heard:.1f} s without a frame")
            self._heard = now

    def _put(self, shot: Shot) -> None:
        with self._ready:
            waits = self._fast and self._ends()
            while waits and self._shots >= self._most and not self._stopped.is_set():
                self._ready.wait()
            if waits and self._heard is not None:
                self._heard = time.monotonic()  # it was the network that had no time
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
        self.counts.dropped += 1
        if oldest.reset:  # the one after it starts the stretch in its place
            place = self._waiting.index(self._oldest())
            self._waiting[place] = replace(self._waiting[place], reset=True)

    def _report(self, what: Told, why: str = "") -> None:
        with self._ready:
            if what in ("restarted", "resized"):  # however many come while the network has no time
                told = [item for item in self._waiting if isinstance(item, Report) and item.what == what]
                if told:
                    self._waiting.remove(told[0])
            self._waiting.append(Report(what, self._now(), why))
            self._ready.notify_all()
