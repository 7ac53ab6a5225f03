"""Which frames of a source a network takes, by their times: it was trained at some interval, whatever the rate."""

from __future__ import annotations

import math
from typing import Literal

from teinet.errors import ConfigError

Verdict = Literal["take", "skip", "reset"]

_MIN_GAP = 2.0  # seconds
_INTERVALS = 3  # in a gap, so that one frame may be missing


class FrameSampler:
    """Takes frames about `interval` seconds apart from a source of any rate; every frame of a slower source.

    The frame nearest to each due time is taken. The next due time counts from that one, not from the frame's own time,
    so that the average keeps the interval.

    Args:
        interval: seconds, above 0, else ConfigError.

    Attributes:
        gap: seconds without a frame after which the state does not carry over: 2, or three times the interval if more.
        size: of the last frame, (width, height); None before the first one of a source.
        num_taken, num_skipped: frames so far.
        num_resets, num_resizes: "reset" verdicts so far for discontinuities in time, and for changes of the size.
    """

    def __init__(self, interval: float):
        if not 0 < interval < math.inf:
            raise ConfigError(f"frame_interval must be a time above 0 s, got {interval:g}")
        self.interval, self.gap = interval, max(_MIN_GAP, _INTERVALS * interval)
        self.num_taken = self.num_skipped = self.num_resets = self.num_resizes = 0
        self.restart()

    def restart(self) -> None:
        """Have the next frame be the first one of a source, whose reset is not counted."""
        self.size: tuple[int, int] | None = None
        self._last: float | None = None  # the time of the frame before, taken or not
        self._due = -math.inf

    def judge(self, time: float, is_discontinuity: bool = False, size: tuple[int, int] | None = None) -> Verdict:
        """Say what becomes of the next frame.

        Args:
            time: when it is shown, seconds; ConfigError if it is not a number.
            is_discontinuity: whether its source says that it does not continue what was before.
            size: (width, height), where it may change.

        Returns:
            "take", "skip", or "reset": take it without the earlier state: the first frame, a discontinuity, another
            size, a frame after a gap, or one at a time no later than the one before.
        """
        if not math.isfinite(time):
            raise ConfigError(f"a frame's time must be a number of seconds, got {time}")
        before, self._last = self._last, time
        resized, self.size = self.size not in (None, size), size
        if before is None or is_discontinuity or resized or not 0 < time - before <= self.gap:
            self.num_resizes += resized
            self.num_resets += before is not None and not resized
            return self._take("reset", due=time)
        early = min(time - before, self.interval) / 2  # the next frame would be farther off
        if time < self._due - early:
            self.num_skipped += 1
            return "skip"
        # a source that is slower than the interval sets it itself
        return self._take("take", due=self._due if time - self._due < self.interval else time)

    def _take(self, verdict: Verdict, due: float) -> Verdict:
        self.num_taken += 1
        self._due = due + self.interval
        return verdict
