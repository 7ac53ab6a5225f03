"""Events from frames: the frame sampler, the scorer and the event detector in one object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from teinet.data.transforms import crop_frame
from teinet.data.video.frames import Frame
from teinet.detection.events import Change, Event, EventDetector, Rules
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import Recognizes, SampledFrame, ScoreRow, interval_for, make_scorer
from teinet.errors import ConfigError, check_numbers

Update = tuple[list[ScoreRow], list[Change]]  # new rows of scores, and the events that began or ended with them


class StreamDetectors:
    """Detects events in the sampled frames of N streams; a step of the model takes one frame of each.

    Args:
        streams: N, at least 1.
        scoring: smoothing, stride, windows, state, batched: see `make_scorer`.
    """

    def __init__(self, recognizer: Recognizes, streams: int = 1, *, rules: Rules | None = None, **scoring: Any):
        rules = (rules or Rules()).filled(recognizer.background)
        self.events = [EventDetector(recognizer.class_names, rules) for _ in range(streams)]
        self.scorer = make_scorer(recognizer, streams, **scoring)
        self._preprocessing = recognizer.preprocessing

    def push(self, frames: Mapping[int, tuple[float, np.ndarray | Tensor, bool]]) -> dict[int, Update]:
        """Take the next frame of some streams; return their updates.

        Args:
            frames: {stream: (time in seconds, image (H, W, 3) uint8 RGB, whether the state is reset first)}.
        """
        sampled = {
            number: SampledFrame(time, crop_frame(image, self._preprocessing), reset)
            for number, (time, image, reset) in frames.items()
        }
        return {number: self._update(number, rows) for number, rows in self.scorer.push(sampled).items()}

    def finish(self, stream: int) -> Update:
        """End the current event of a stream that has ended or stalled; return its last update."""
        rows, changes = self._update(stream, self.scorer.finish(stream))
        return rows, changes + self.events[stream].finish()

    def _update(self, stream: int, rows: Iterable[ScoreRow]) -> Update:
        events, changes, rows = self.events[stream], [], list(rows)
        for row in rows:
            changes += events.update(row.interval, row.scores, reset=row.reset)
        return rows, changes


class Detector:
    """Detects events in one stream of frames; `Recognizer.detector` makes it.

        detector = recognizer.detector()
        for frame in teinet.VideoReader("camera"):
            for change in detector.push(frame): ...

    Args:
        recognizer: a bidirectional one scores windows.
        frame_interval: seconds between the frames that the model takes, above 0 (default: as in its training).
        scoring: smoothing, stride, windows, batched: see `make_scorer`.

    Raises:
        ConfigError: a value out of its range or not for this model, or an unknown frame interval.

    Attributes:
        sampler: the `FrameSampler`, which counts frames and resets.
        rows: the rows of scores of the last `push` or `finish`.
    """

    def __init__(
        self, recognizer: Recognizes, *, frame_interval: float | None = None, rules: Rules | None = None, **scoring: Any
    ):
        self.sampler = FrameSampler(interval_for(recognizer, frame_interval))
        self._streams = StreamDetectors(recognizer, rules=rules, **scoring)
        self.rows: list[ScoreRow] = []

    @property
    def current(self) -> Event | None:
        """The current event; None if there is none."""
        return self._streams.events[0].current

    def push(self, frame: Frame | np.ndarray, time: float | None = None) -> list[Change]:
        """Take the next frame; return the events that began or ended with it.

        Args:
            frame: of a `VideoReader` (converted only if the model takes it), or an image (H, W, 3) uint8 RGB.
            time: seconds at which an image is shown; required for images.

        Raises:
            ConfigError: the time is missing or not finite.
        """
        if not isinstance(frame, Frame):
            if time is None:
                raise ConfigError("an image has no time of its own; pass its time in seconds: push(image, time)")
            check_numbers(time=time)
            image = frame
            frame = Frame(0, time, math.nan, False, (image.shape[1], image.shape[0]), lambda: image)
        self.rows = []
        verdict = self.sampler.judge(frame.time, frame.is_discontinuity, frame.size)
        if verdict == "skip":
            return []
        self.rows, changes = self._streams.push({0: (frame.time, frame.image, verdict == "reset")})[0]
        return changes

    def finish(self) -> list[Change]:
        """End the current event at the end of the video; return the last changes. Score frames that waited for more."""
        self.rows, changes = self._streams.finish(0)
        return changes
