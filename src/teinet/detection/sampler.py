"""Sampling of frames by their times, at the frame interval of the model's training, from sources of any rate."""

from __future__ import annotations

import math
from typing import Literal

from teinet.errors import ConfigError

Verdict = Literal["take", "skip", "reset"]

_MIN_GAP = 2.0  # seconds
_INTERVALS = 3  # in a gap, so that one frame may be missing


class FrameSampler:
    """Takes frames about `interval` seconds apart from a source of any rate; every frame of a slower source.

    It takes the frame nearest to each due time. The next due time counts from the last due time, not from the frame's
    own time, so that the average interval is exact.

    Args:
        interval: seconds, above 0.

    Raises:
        ConfigError: the interval is not above 0 or not finite.

    Attributes:
        gap: seconds without a frame after which the state is reset: 2, or three times the interval if that is more.
        size: of the last frame, (width, height); None before the first one of a source.
        num_taken, num_skipped: frames so far.
        num_resets, num_resizes: resets so far for discontinuities in time, and for changes of the frame size.
    """

    def __init__(self, interval: float):
        if not 0 < interval < math.inf:
            raise ConfigError(f"frame_interval must be above 0 s and finite, got {interval:g}")
        self.interval, self.gap = interval, max(_MIN_GAP, _INTERVALS * interval)
        self.num_taken = self.num_skipped = self.num_resets = self.num_resizes = 0
        self.restart()

    def restart(self) -> None:
        """Treat the next frame as the first one of a source, whose reset is not counted."""
        self.size: tuple[int, int] | None = None
        self._last: float | None = None  # the time of the frame before, taken or not
        self._due = -math.inf

    def judge(self, time: float, is_discontinuity: bool = False, size: tuple[int, int] | None = None) -> Verdict:
        """Decide whether the model takes the next frame.

        Args:
            time: when it is shown, seconds.
            is_discontinuity: whether its source says that it does not continue the earlier frames.
            size: (width, height), if it may change.

        Returns:
            "take", "skip", or "reset": take it after a reset of the state. The first frame resets, and so do a
            discontinuity, another size, a gap, and a time that is not later than the last one.

        Raises:
            ConfigError: the time is not finite.
        """
        if not math.isfinite(time):
            raise ConfigError(f"the time of a frame must be a number of seconds, got {time}")
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
