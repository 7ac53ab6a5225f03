"""Events from scores over time: when each one begins and ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from teinet.errors import ConfigError, check_numbers, nearest


@dataclass(frozen=True, kw_only=True)
class Event:
    """An action with its beginning and end.

    Args:
        start, end: seconds: the middle of the frames of its first and last scores; the first or last frame of the
            stream if the event was in progress there.
        score, peak: mean and maximum of its class's scores during the event, 0 to 1.
    """

    label: str
    start: float
    end: float
    score: float
    peak: float

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON values, times rounded to milliseconds."""
        times = {"start": round(self.start, 3), "end": round(self.end, 3)}
        return {"label": self.label, **times, "score": round(self.score, 4), "peak": round(self.peak, 4)}


class Change(NamedTuple):
    """An event began (it has lasted long enough to be one) or ended."""

    type: Literal["begin", "end"]
    event: Event


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules for the beginning and end of events.

    Args:
        threshold: score at which an event begins, `off_threshold` to 1.
        off_threshold: score below which it ends, 0 to `threshold`; None sets 0.7 of that.
        min_duration: seconds, at least 0; shorter events are dropped.
        background: classes that make no event; None takes those of the recognizer (`filled`).

    Raises:
        ConfigError: a value out of its range.
    """

    threshold: float = 0.5
    off_threshold: float | None = None
    min_duration: float = 0.5
    background: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_numbers(threshold=self.threshold, off_threshold=self.off_threshold, min_duration=self.min_duration)
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold:g}; it must be 0 to 1")
        off = round(0.7 * self.threshold, 6) if self.off_threshold is None else self.off_threshold
        if not 0 <= off <= self.threshold:
            raise ConfigError(f"off_threshold is {off:g}; it must be 0 to the threshold, {self.threshold:g}")
        object.__setattr__(self, "off_threshold", off)
        if not 0 <= self.min_duration < math.inf:
            raise ConfigError(f"min_duration must be at least 0 s and finite, got {self.min_duration:g}")

    def filled(self, background: tuple[str, ...]) -> Rules:
        """Return the same rules, with these background classes if they have none."""
        return replace(self, background=background) if self.background is None else self

    def check(self, class_names: Sequence[str]) -> None:
        """Raise ConfigError, with the nearest name, for an unknown background class."""
        for label in self.background or ():
            if label not in class_names:
                hint = nearest(label, class_names)
                raise ConfigError(f"background {label!r} is no class of this model.{hint}")


class EventDetector:
    """Detects events in the scores of one stream, one event at a time.

    An event of the class with the highest score begins when that reaches `threshold`. It ends when its class's score
    falls below `off_threshold`, or another class reaches `threshold` and passes it.

    Args:
        class_names: in the order of the scores.

    Raises:
        ConfigError: an unknown background class.
    """

    def __init__(self, class_names: Sequence[str], rules: Rules | None = None):
        self.rules = (rules or Rules()).filled(())
        self.rules.check(class_names)
        self._off_threshold = self.rules.off_threshold or 0.0
        self._names = list(class_names)
        self._possible = np.array([name not in (self.rules.background or ()) for name in self._names])
        self._current: int | None = None
        self._times: tuple[float, float] = (0.0, 0.0)
        self._sum, self._count, self._peak = 0.0, 0, 0.0
        self._announced = False
        self._last: float | None = None  # second of the last frame

    @property
    def current(self) -> Event | None:
        """The current event, once it has lasted long enough; None if there is none."""
        return self._event() if self._announced else None

    def update(self, interval: tuple[float, float], scores: np.ndarray, *, reset: bool = False) -> list[Change]:
        """Take the next scores (classes,), 0 to 1; return the events that began or ended.

        Args:
            interval: seconds of the first and the last frame of the scores; events begin and end in the middle.
            reset: whether the video is not continuous here, as at the first scores: the current event ends, and a new
                one begins with the first frame.
        """
        changes = self.finish() if reset else []
        reset, time = reset or self._last is None, (interval[0] + interval[1]) / 2
        self._last = interval[1]
        best = int(np.argmax(np.where(self._possible, scores, -1.0)))
        high = bool(self._possible[best]) and scores[best] >= self.rules.threshold
        if self._current is not None:
            own = scores[self._current]
            if own < self._off_threshold or (high and best != self._current and scores[best] > own):
                changes += self._close()
        if self._current is None and high:
            self._current, self._times = best, (interval[0] if reset else time, time)
            self._sum, self._count, self._peak = 0.0, 0, 0.0
        if self._current is not None:
            score = float(scores[self._current])
            self._times = (self._times[0], time)
            self._sum, self._count, self._peak = self._sum + score, self._count + 1, max(self._peak, score)
            changes += self._announce()
        return changes

    def finish(self) -> list[Change]:
        """End the current event with the last frame, at the end of the video or before a reset; return the changes."""
        changes: list[Change] = []
        if self._current is not None and self._last is not None:
            self._times = (self._times[0], max(self._times[1], self._last))
            changes = self._announce()
        return changes + self._close()

    def _announce(self) -> list[Change]:
        """Return the beginning of the current event, once it has lasted long enough."""
        if self._announced or self._times[1] - self._times[0] < self.rules.min_duration - 1e-9:
            return []
        self._announced = True
        return [Change("begin", self._event())]

    def _close(self) -> list[Change]:
        ended = [Change("end", self._event())] if self._announced else []
        self._current, self._announced = None, False
        return ended

    def _event(self) -> Event:
        assert self._current is not None
        start, end = self._times
        label, score = self._names[self._current], self._sum / self._count
        return Event(label=label, start=start, end=end, score=score, peak=self._peak)
