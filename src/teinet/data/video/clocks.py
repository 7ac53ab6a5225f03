"""From a video's timestamps to seconds: of recordings, of live sources, and of a recording that is played."""

from __future__ import annotations

from collections.abc import Callable

TICK = 1e-3  # least seconds between two frames of a live source
_AVERAGED = 20  # arrivals whose mean distance is that of frames without timestamps
_DRAWN = 0.2  # share of the distance from its arrival by which the time of such a frame is set right
WRAPPED = 2**32 / 90_000  # seconds, half the range of a transport stream's clock: a jump forward by more is one back


class Continued:
    """The times of a recording whose clock may start again: they go on after the last frame, as in ffmpeg's program."""

    def __init__(self) -> None:
        self._offset = self._next = 0.0
        self._last: float | None = None
        self._decoded: float | None = None
        self._fell = False

    def __call__(self, time: float, duration: float, decoded: float | None) -> tuple[float, bool]:
        """Return the time of the next frame, and true if the clock started again there.

        Args:
            time: by the clock, seconds.
            duration: seconds for which the frame is shown.
            decoded: the time of its decoding, which falls only where the clock starts again; times also do by damage.
        """
        if decoded is not None:
            self._fell |= self._decoded is not None and decoded < self._decoded
            self._decoded = decoded
        time += self._offset
        restarted = self._last is not None and (time <= self._last if self._fell else time - self._last > WRAPPED)
        if restarted:
            self._offset += self._next - time
            time, self._fell = self._next, False
        self._last, self._next = time, time + duration
        return time, restarted


class RecordedClock:
    """The clock of a recording: seconds from its beginning by its timestamps, including their jumps.

    Args:
        begin: the timestamp of the beginning, seconds.
        interval: seconds from a frame to a next one without a timestamp.
    """

    last_time: float | None = None

    def __init__(self, begin: float, interval: float):
        self._begin, self._interval = begin, interval

    def time_of(self, stamp: float | None) -> tuple[float, bool]:
        """Return the time of the next frame by its timestamp (seconds or None), and False: this clock never jumps."""
        if stamp is not None:
            self.last_time = stamp - self._begin
        else:
            self.last_time = 0.0 if self.last_time is None else self.last_time + self._interval
        return self.last_time, False


class LiveClock:
    """The clock of a live source: seconds by the system's clock, advanced by timestamps, always increasing.

    Where timestamps begin or jump, the system's clock sets the time. A frame without a timestamp comes after the last
    interval; after `gap` seconds without timestamps, frames follow their arrivals at the mean distance of these, as a
    network delivers some late and together.

    Args:
        gap: seconds between two frames above which the timestamps have jumped.
        interval: seconds between two frames until timestamps give it.
        now: returns the system's clock in seconds.
        last_time: time of the last frame of an earlier connection.
    """

    def __init__(self, *, gap: float, interval: float, now: Callable[[], float], last_time: float | None = None):
        self.last_time = last_time
        self._gap, self._interval, self._now = gap, interval, now
        self._stamp: float | None = None  # the last one
        self._offset = 0.0  # from timestamps to seconds
        self._missing = 0  # frames since the last timestamp
        self._arrived: float | None = None  # when the last frame without a timestamp came
        self._apart, self._num_apart = 0.0, 0  # mean seconds between such frames, and the number that it is of

    def time_of(self, stamp: float | None) -> tuple[float, bool]:
        """Return the time of the next frame by its timestamp (seconds or None), and true if that jumped."""
        before, time, jumped = self._stamp, None, False
        last = -1.0 if self.last_time is None else self.last_time
        if stamp is None:
            self._missing += 1
            if before is not None and self._missing * self._interval <= self._gap:
                time = last + self._interval
            else:
                self._stamp = None
        else:
            if before is not None:
                jumped = stamp <= before or stamp + self._offset - last > self._gap
                if not jumped:
                    time = stamp + self._offset
                    self._interval = (stamp - before) / (self._missing + 1)
            self._stamp, self._missing = stamp, 0
        is_placed = time is not None
        if time is None:
            time = self._by_arrival(last) if stamp is None else self._now()
        self.last_time = max(time, last + TICK)
        if stamp is not None and not is_placed:
            self._offset = self.last_time - stamp
        return self.last_time, jumped

    def _by_arrival(self, last: float) -> float:
        now, before = self._now(), self._arrived
        self._arrived = now
        if before is None or now - before > self._gap:
            self._num_apart = 0
            return now
        self._num_apart = min(self._num_apart + 1, _AVERAGED)
        self._apart += (now - before - self._apart) / self._num_apart
        expected = last + self._apart
        return now if abs(now - expected) > self._gap else expected + _DRAWN * (now - expected)


class PlaybackClock:
    """The clock for playing a recording at its own speed.

    Where its times jump, the next frame is due one frame interval later, and the clock continues from there.

    Args:
        start: the time at which second 0 is shown, in `time.monotonic` seconds.
        gap: seconds between two frames above which the times have jumped.
        interval: seconds between two frames, as the recording states.
    """

    def __init__(self, start: float, *, gap: float, interval: float):
        self._zero, self._gap, self._interval = start, gap, interval
        self._last = -interval

    def due(self, time: float) -> float:
        """Return when to show the next frame, given its time in the recording; `time.monotonic` seconds."""
        if not 0 < time - self._last <= self._gap:
            self._zero += self._last + self._interval - time
        self._last = time
        return self._zero + time
