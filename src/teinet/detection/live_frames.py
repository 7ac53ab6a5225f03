"""A connection's frames with their seconds: by a recording's own clock, or by a live source's, which always runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import av

TICK = 1e-3  # seconds by which a live source's time grows at least
_RATE = 25.0  # frames a second, where the source does not say


class Timed(NamedTuple):
    """A frame, its second, and whether a live source's clock was set anew for it."""

    frame: av.VideoFrame
    second: float
    jumped: bool


class RecordedClock:
    """A recording's seconds, from its beginning on, as they are written; also where they jump.

    Args:
        begin: the timestamp of the beginning, seconds.
        apart: seconds from a frame to one without a timestamp.
    """

    def __init__(self, begin: float, apart: float):
        self._begin, self._apart = begin, apart
        self._last: float | None = None

    def second(self, stamp: float | None) -> tuple[float, bool]:
        """The second of the next frame by its timestamp (seconds, or None), and False: no clock is set anew."""
        if stamp is not None:
            self._last = stamp - self._begin
        else:
            self._last = 0.0 if self._last is None else self._last + self._apart
        return self._last, False


class LiveClock:
    """A live source's seconds since the watch began: they run on by its timestamps, and always grow.

    Where the timestamps begin or jump they are set by our clock. A frame without one lies as far behind the frame
    before as that lay behind its own; where there are none for longer than `gap`, frames take the time of arrival.

    Args:
        gap: seconds between two frames above which the timestamps have jumped.
        apart: seconds between two frames, until the timestamps tell.
        since: gives the seconds since the watch began.
        last: the second of the last frame of an earlier connection.
    """

    def __init__(self, *, gap: float, apart: float, since: Callable[[], float], last: float | None = None):
        self._gap, self._apart, self._since = gap, apart, since
        self._last = -1.0 if last is None else last
        self._stamp: float | None = None  # the last one
        self._offset = 0.0  # from timestamps to seconds
        self._missing = 0  # frames since that had none

    def second(self, stamp: float | None) -> tuple[float, bool]:
        """The second of the next frame by its timestamp (seconds, or None), and whether that jumped."""
        before, second, jumped = self._stamp, None, False
        if stamp is None:
            self._missing += 1
            if before is not None and self._missing * self._apart <= self._gap:
                second = self._last + self._apart
            else:
                self._stamp = None
        else:
            if before is not None:
                jumped = stamp <= before or stamp + self._offset - self._last > self._gap
                if not jumped:
                    second = stamp + self._offset
                    self._apart = (stamp - before) / (self._missing + 1)
            self._stamp, self._missing = stamp, 0
        floor = self._last + TICK
        self._last = max(self._since() if second is None else second, floor)
        if stamp is not None and second is None:
            self._offset = self._last - stamp
        return self._last, jumped


class Frames:
    """Iterate it for a connection's frames; broken packets are counted and passed over.

    Args:
        container, stream: what was opened.
        recorded: it keeps its own clock.
        made_up: whether times count that are counted up by a guessed rate where the source writes none.
        gap, since, last: as `LiveClock` takes them.

    Attributes:
        broken: packets and frames so far that could not be decoded whole.
        apart: seconds between two frames, as the stream says.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        *,
        recorded: bool,
        made_up: bool,
        gap: float,
        since: Callable[[], float],
        last: float | None = None,
    ):
        self.broken = 0
        self.apart = 1 / float(stream.average_rate or stream.guessed_rate or _RATE)
        self._container, self._stream = container, stream
        # What writes no times (MJPEG, bare H.264) has no start; FFmpeg then counts some up.
        told = made_up or container.start_time is not None or stream.start_time is not None
        self._base = float(stream.time_base or 0) if told else 0.0
        self._clock = (
            RecordedClock((container.start_time or 0) / av.time_base, self.apart)
            if recorded
            else LiveClock(gap=gap, apart=self.apart, since=since, last=last)
        )

    def __iter__(self) -> Iterator[Timed]:
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
                stamp = frame.pts * self._base if frame.pts is not None and self._base else None
                yield Timed(frame, *self._clock.second(stamp))


class Showing:
    """When the frames of a recording are due that is shown at its own speed.

    Where its times jump the next frame is shown one frame later, and the clock of showing runs on from there.

    Args:
        began: when its second 0 is shown; `time.monotonic` seconds.
        gap: seconds between two frames above which the times have jumped.
        apart: seconds between two frames, as the recording says.
    """

    def __init__(self, began: float, *, gap: float, apart: float):
        self._zero, self._gap, self._apart = began, gap, apart
        self._last = -apart

    def due(self, second: float) -> float:
        """When the next frame, of this second, is to be shown; `time.monotonic` seconds."""
        if not 0 < second - self._last <= self._gap:
            self._zero += self._last + self._apart - second
        self._last = second
        return self._zero + second
