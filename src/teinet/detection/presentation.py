"""When the frames of a live source are due: by their own times, however they arrive."""

from __future__ import annotations

import math

_LEAST_WINDOW = 1.0  # seconds
_PAUSES = 2  # in a window, so that one lies within it
_GROWTH = 0.1  # of a window's length, by which frames of a source in real time may come earlier at its end


class PresentationClock:
    """The clock of a live source, whose frames may arrive in bursts.

    A frame that arrives ahead of its time is due at its time, a late one at once. Over windows of twice the longest
    pause between arrivals, the clock is set so that no frame arrives earlier or later than necessary: a camera that
    sends its last seconds first and then delivers evenly is soon shown without delay, segments are shown with the delay
    of one segment, and a source's clock that runs fast or slow is followed.

    Attributes:
        shift: seconds from a frame's time to when it is due.
        lateness: seconds after they were due at which frames have lately arrived; the model may be as late.
    """

    def __init__(self) -> None:
        self.shift = self.lateness = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin a window with the next frame; the time until it arrives is no pause of its source."""
        self._began = self._last = math.nan
        self._longest = 0.0  # pause
        self._first, self._least, self._most = 0.0, math.inf, -math.inf  # seconds ahead of their time, in this window

    def arrived(self, time: float, now: float) -> float:
        """Take a frame's time when it arrives, in seconds; return by how many seconds that is before it is due."""
        ahead = time + self.shift - now
        if math.isnan(self._began):
            self._began = self._last = now
            self._first = ahead
        self._longest, self._last = max(self._longest, now - self._last), now
        self._least, self._most = min(self._least, ahead), max(self._most, ahead)
        self.lateness = max(self.lateness, -ahead)
        window = now - self._began
        if window <= max(_LEAST_WINDOW, _PAUSES * self._longest):
            return ahead
        if ahead - self._first <= _GROWTH * window:  # else it delivers faster than it is shown
            correction = max(self._least, 0.0) + min(self._most, 0.0)
            self.shift -= correction
            self.lateness = max(0.0, correction - self._least)
            ahead -= correction
        self._began, self._first, self._least, self._most = now, ahead, math.inf, -math.inf
        return ahead
