"""Scores from sampled frames, by a causal model that takes one frame at a time, or by one that takes windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError, check_numbers
from teinet.models.header import refuse_multi_label
from teinet.models.probabilities import to_probabilities

_FRAMES_AT_ONCE = 8  # in one step of a causal model: as many as a clip has, as fast per frame
_WINDOWS_AT_ONCE = 2
NO_FLOW = "live video and recordings have no optical flow"

StateType = Literal["same", "fp16"]


class Recognizes(Protocol):
    """The part of `teinet.Recognizer` that detection uses; it does not import the class."""

    model: Any
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    header: dict[str, Any]

    @property
    def num_frames(self) -> int: ...

    @property
    def is_causal(self) -> bool: ...

    @property
    def frame_interval(self) -> float | None: ...

    @property
    def background(self) -> tuple[str, ...]: ...

    def logits(self, views: np.ndarray, at_once: int | None = None) -> np.ndarray: ...

    def stream(
        self, batch: int = 1, *, smoothing: int | None = None, state: StateType = "same", together: int = 1
    ) -> Any: ...


class SampledFrame(NamedTuple):
    """A frame for the model: its time (seconds), pixels (S, S, 3) uint8, and whether the state is reset before it."""

    time: float
    pixels: np.ndarray
    reset: bool


class ScoreRow(NamedTuple):
    """Scores (classes,), the times of their first and last frame, and whether the state was reset before them."""

    interval: tuple[float, float]
    scores: np.ndarray
    reset: bool


def interval_for(recognizer: Recognizes, asked: float | None = None) -> float:
    """Return the frame interval asked for, else that of training, in seconds; ConfigError if unknown, or for flow."""
    recognizer.preprocessing.refuse_flow(NO_FLOW)
    check_numbers(frame_interval=asked)
    interval = recognizer.frame_interval if asked is None else asked
    if interval is None:
        raise ConfigError(
            "the weights do not say how many seconds lay between frames in training; set the frame interval "
            "(frame_interval=, --frame-interval SECONDS)"
        )
    return interval


def make_scorer(
    recognizer: Recognizes,
    streams: int = 1,
    *,
    smoothing: int | None = None,
    stride: int | None = None,
    windows: bool = False,
    state: StateType = "same",
    batched: bool = False,
) -> Scorer:
    """Return the scorer for a recognizer.

    Args:
        recognizer: a bidirectional one scores windows.
        streams: N, at least 1.
        smoothing: without windows: number of the last frames that a score averages over, at least 1 (default: T).
        stride: with windows: frames from one to the next, 1 to T (default: half of T).
        windows: let a causal recognizer score windows too.
        state: without windows: see `Stream`.
        batched: score several frames or windows of a single stream at once: faster, with more delay.

    Raises:
        ConfigError: a value out of its range, or not for this way of scoring; a multi-label recognizer.
    """
    refuse_multi_label(recognizer.header)
    if uses_windows(recognizer, smoothing=smoothing, stride=stride, windows=windows):
        if state != "same":
            raise ConfigError(f"state ({state}) is for causal models that take one frame at a time: leave it out")
        return WindowScorer(recognizer, streams, stride=stride, at_once=_WINDOWS_AT_ONCE if batched else 1)
    return SteppingScorer(
        recognizer, streams, smoothing=smoothing, state=state, at_once=_FRAMES_AT_ONCE if batched else 1
    )


def uses_windows(
    recognizer: Recognizes, *, smoothing: int | None = None, stride: int | None = None, windows: bool = False
) -> bool:
    """Return whether a recognizer scores windows, else single frames; arguments and errors as `make_scorer`."""
    for name, value, most in (("smoothing", smoothing, None), ("stride", stride, recognizer.num_frames)):
        if value is not None and (value < 1 or (most and value > most)):
            raise ConfigError(f"{name} must be at least 1{f' and at most {most}' if most else ''} frames, got {value}")
    windows = windows or not recognizer.is_causal
    if windows and smoothing is not None:
        raise ConfigError(
            f"smoothing ({smoothing}) is for causal models that take one frame at a time; this one "
            f"scores windows of {recognizer.num_frames} frames: leave it out, or set stride"
        )
    if stride is not None and not windows:
        raise ConfigError(
            f"stride ({stride}) is for windows, but this causal model takes one frame at a time: leave it out, or "
            "set windows=True (--windows)"
        )
    return windows


class SteppingScorer:
    """Scores each frame of N streams by a step of a causal model.

    Args:
        at_once: frames of a single stream in one step; frames wait until there are so many.
        smoothing, state: see `make_scorer`.
    """

    def __init__(
        self,
        recognizer: Recognizes,
        streams: int = 1,
        *,
        smoothing: int | None = None,
        state: StateType = "same",
        at_once: int = 1,
    ):
        self.stream = recognizer.stream(streams, smoothing=smoothing, state=state, together=at_once)
        self._times: list[deque[float]] = [deque(maxlen=self.stream.smoothing) for _ in range(streams)]
        self._at_once, self._shape = at_once, recognizer.preprocessing.shape
        self._waiting: list[SampledFrame] = []

    @property
    def state_bytes(self) -> int | None:
        """Size of a stream's state, bytes; None with windows."""
        return self.stream.state.nbytes // self.stream.batch

    def warm_up(self) -> None:
        """Run the model once, so that the first frame does not wait for what loads at first use."""
        self.stream.step({0: torch.zeros(3, *self._shape, dtype=torch.uint8)})
        self.stream.reset()

    def push(self, frames: Mapping[int, SampledFrame]) -> dict[int, list[ScoreRow]]:
        """Take the next frame of some streams; return the rows that are complete now, by stream."""
        if self._at_once > 1:
            return {0: self._wait(frames[0])}
        if resets := [number for number, frame in frames.items() if frame.reset]:
            self.stream.reset(resets)
        step = self.stream.step({number: _planes(frame.pixels) for number, frame in frames.items()})
        rows = zip(step.streams, step.scores, strict=True)
        return {number: [self._row(number, frames[number], scores)] for number, scores in rows}

    def finish(self, stream: int) -> list[ScoreRow]:
        """Score the frames of a stream that wait for more; return their rows."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        if waiting[0].reset:
            self.stream.reset()
        steps = self.stream.steps(torch.stack([_planes(frame.pixels) for frame in waiting])[None])
        return [self._row(stream, frame, step.scores[0]) for frame, step in zip(waiting, steps, strict=True)]

    def _wait(self, frame: SampledFrame) -> list[ScoreRow]:
        rows = self.finish(0) if frame.reset else []
        self._waiting.append(frame)
        return rows + (self.finish(0) if len(self._waiting) == self._at_once else [])

    def _row(self, stream: int, frame: SampledFrame, scores: np.ndarray) -> ScoreRow:
        times = self._times[stream]
        if frame.reset:
            times.clear()
        times.append(frame.time)
        return ScoreRow((times[0], frame.time), scores, frame.reset)


class WindowScorer:
    """Scores windows of T frames; the last window before a reset ends with the last frame, so that none is left out.

    Fewer than T frames before a reset are filled up with the last one, as in a short clip. Methods as `SteppingScorer`.

    Args:
        at_once: windows in one pass of the model.
        stride: see `make_scorer`.
    """

    state_bytes: int | None = None

    def __init__(self, recognizer: Recognizes, streams: int = 1, *, stride: int | None = None, at_once: int = 1):
        self._recognizer, self._at_once = recognizer, at_once
        self._stride = max(1, recognizer.num_frames // 2) if stride is None else stride
        self._frames: list[deque[SampledFrame]] = [deque(maxlen=recognizer.num_frames) for _ in range(streams)]
        self._reset = [True] * streams  # whether the next window is the first one
        self._unseen = [0] * streams  # frames since the last window
        self._waiting: list[tuple[int, Sequence[SampledFrame], bool]] = []  # stream, frames, reset

    def warm_up(self) -> None:
        shape = (1, self._recognizer.num_frames, *self._recognizer.preprocessing.shape, 3)
        self._recognizer.logits(np.zeros(shape, np.uint8), self._at_once)

    def push(self, frames: Mapping[int, SampledFrame]) -> dict[int, list[ScoreRow]]:
        for number, frame in frames.items():
            self._take(number, frame)
        rows: dict[int, list[ScoreRow]] = {number: [] for number in frames}
        while len(self._waiting) >= self._at_once:
            for number, row in self._score():
                rows[number].append(row)
        return rows

    def finish(self, stream: int) -> list[ScoreRow]:
        if self._unseen[stream]:
            self._cut(stream)
        return [row for _, row in self._score()]

    def _take(self, number: int, frame: SampledFrame) -> None:
        frames = self._frames[number]
        if frame.reset:
            if self._unseen[number]:
                self._cut(number)
            frames.clear()
            self._reset[number], self._unseen[number] = True, 0
        frames.append(frame)
        self._unseen[number] += 1
        if len(frames) == frames.maxlen and (self._reset[number] or self._unseen[number] >= self._stride):
            self._cut(number)

    def _cut(self, number: int) -> None:
        frames = self._frames[number]
        missing = self._recognizer.num_frames - len(frames)
        self._waiting.append((number, [*frames, *[frames[-1]] * missing], self._reset[number]))
        self._reset[number], self._unseen[number] = False, 0

    def _score(self) -> list[tuple[int, ScoreRow]]:
        windows, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
        if not windows:
            return []
        views = np.stack([np.stack([frame.pixels for frame in frames]) for _, frames, _ in windows])
        scores = to_probabilities(self._recognizer.logits(views, self._at_once))
        return [
            (number, ScoreRow((frames[0].time, frames[-1].time), row, reset))
            for (number, frames, reset), row in zip(windows, scores, strict=True)
        ]


def _planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


Scorer = SteppingScorer | WindowScorer
