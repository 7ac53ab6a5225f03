"""Which frames of a source a network takes, by their times: it learnt at some spacing, whatever the camera's rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from teinet.errors import ConfigError

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

Verdict = Literal["take", "skip", "restart"]

_LEAST_GAP = 2.0  # seconds
_SPACINGS = 3  # in a gap, so that one frame may be missing


def spacing_for(recognizer: Recognizer, asked: float | None = None) -> float:
    """Seconds between the frames that a recogniser takes: what is asked for, else those of its training.

    Raises:
        ConfigError: nothing is asked for, and the weights do not say.
    """
    spacing = recognizer.spacing if asked is None else asked
    if spacing is None:
        raise ConfigError(
            "this recogniser does not know how far apart in time its frames lay in training; say how many seconds "
            "lie between two frames (spacing=, --every)"
        )
    return spacing


@dataclass
class Pace:
    """Takes frames about `spacing` seconds apart from a source of any rate.

    The frame nearest to when one is due is taken, and what is due next is counted on from there and not from the
    frame's own time, so that the average keeps the spacing. From a source slower than that every frame is taken.

    Args:
        spacing: seconds between the frames that the network takes, above 0.
        gap: seconds without a frame after which what was seen before no longer counts: the stream restarts. None takes
            2 s, or three times the spacing where that is longer.

    Raises:
        ConfigError: a value that is not above 0.

    Attributes:
        taken, skipped: frames so far.
        restarts: gaps and jumps backwards so far.
    """

    spacing: float
    gap: float | None = None
    taken: int = field(default=0, init=False)
    skipped: int = field(default=0, init=False)
    restarts: int = field(default=0, init=False)
    _last: float | None = field(default=None, init=False, repr=False)  # the time of the frame before, taken or not
    _due: float = field(default=-math.inf, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.gap is None:
            self.gap = max(_LEAST_GAP, _SPACINGS * self.spacing)
        for name, value in (("spacing", self.spacing), ("gap", self.gap)):
            if not value > 0 or math.isinf(value):
                raise ConfigError(f"{name} must be a time above 0 s, got {value:g}")

    def judge(self, time: float) -> Verdict:
        """Say what becomes of the frame shown at `time` (seconds).

        "restart" takes it too, as the first frame of a stream that begins anew: after a gap, or at a time that is not
        later than the one before.

        Raises:
            ConfigError: a time that is not a number.
        """
        if not math.isfinite(time):
            raise ConfigError(f"a frame's time must be a number of seconds, got {time}")
        before, self._last = self._last, time
        if before is not None and (time <= before or time - before > self.gap):
            self.restarts += 1
            return self._take(time, "restart", time)
        early = 0.0 if before is None else min(time - before, self.spacing) / 2  # the next frame would be farther off
        if time < self._due - early:
            self.skipped += 1
            return "skip"
        # a source that is slower than the spacing sets the pace itself
        due = self._due if before is not None and time - self._due < self.spacing else time
        return self._take(time, "take", due)

    def forget(self) -> None:
        """Take the next frame whatever its time: it is another source's, or the source was lost meanwhile."""
        self._last, self._due = None, -math.inf

    def _take(self, time: float, verdict: Verdict, due: float) -> Verdict:
        self.taken += 1
        self._due = due + self.spacing
        return verdict
