"""Frames of a recording in, rows of scores out, by either kind of network."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from teinet.errors import ConfigError
from teinet.models.insertion import is_causal
from teinet.models.optimized import is_compiled
from teinet.models.probabilities import to_probabilities
from teinet.recognition.stream import Stream

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

_CHUNK = 8  # frames that a causal network takes at a time: as many as a clip has, so as fast a frame
_WINDOWS = 2  # of a two-sided network, in one pass


class Taken(NamedTuple):
    """A frame that the network takes: its second, (3, S, S) uint8, whether a stream begins with it."""

    second: float
    picture: Tensor
    begins: bool


class Window(NamedTuple):
    """Frames (T, 3, S, S) uint8, the seconds of the first and the last, whether a stream begins with them."""

    reach: tuple[float, float]
    pictures: Tensor
    begins: bool


class Row(NamedTuple):
    """Scores (classes,), the seconds of the first and last frame that they are of, whether a stream begins there."""

    reach: tuple[float, float]
    scores: np.ndarray
    begins: bool


class Rows(Protocol):
    """What makes rows of frames."""

    def feed(self, frame: Taken) -> list[Row]:
        """Take the next frame; returns the rows that are complete now."""

    def finish(self) -> list[Row]:
        """The last rows, at the end of the recording."""


def rows_of(recognizer: Recognizer, *, span: int | None = None, hop: int | None = None, windows: bool = False) -> Rows:
    """What makes rows by a recogniser; arguments and errors as of `check_rows`."""
    if check_rows(recognizer, span=span, hop=hop, windows=windows):
        return WindowRows(recognizer, hop)
    return CausalRows(recognizer, span)


def check_rows(
    recognizer: Recognizer, *, span: int | None = None, hop: int | None = None, windows: bool = False
) -> bool:
    """Say whether a recogniser looks at windows; else it goes on from frame to frame.

    Args:
        recognizer: of any network; a two-sided one always looks at windows.
        span: from frame to frame: how many of the last frames a score averages over, at least 1; None takes T.
        hop: windows: frames from one to the next, 1 to T; None takes half of T.
        windows: whether a causal network looks at windows too.

    Raises:
        ConfigError: a value out of its range, or one that has no meaning in this way of looking.
    """
    for name, value, most in (("span", span, None), ("hop", hop, recognizer.num_frames)):
        if value is not None and (value < 1 or (most and value > most)):
            raise ConfigError(f"{name} must be at least 1{f' and at most {most}' if most else ''} frames, got {value}")
    windows = windows or not is_causal(recognizer.model)
    if windows and span is not None:
        raise ConfigError(
            f"span ({span}) is for a causal network that goes on from frame to frame; here it looks at windows, whose "
            f"scores are of {recognizer.num_frames} frames: leave it out"
        )
    if hop is not None and not windows:
        raise ConfigError(
            f"hop ({hop}) is for windows, and this network is causal: it goes on from frame to frame. Leave it out, or "
            "have it look at windows (windows=True, --windows)"
        )
    return windows


class Span:
    """The frames that a stream's score averages over.

    Args:
        frames: how many of the last ones, at least 1.
    """

    def __init__(self, frames: int):
        self.seconds: deque[float] = deque(maxlen=frames)

    def feed(self, second: float, begins: bool) -> tuple[float, float]:
        """Take the second of the next frame, which may begin a stream; returns those of the first and the last."""
        if begins:
            self.seconds.clear()
        self.seconds.append(second)
        return self.seconds[0], second


class CausalRows:
    """A row for each frame: the network goes on with what it remembers, some frames at a time."""

    def __init__(self, recognizer: Recognizer, span: int | None = None):
        self._stream = Stream(recognizer, span=span, together=_CHUNK)
        self._span = Span(self._stream.span)
        self._waiting: list[Taken] = []

    def feed(self, frame: Taken) -> list[Row]:
        """Take the next frame; a stream that begins anew begins a chunk."""
        rows = self.finish() if frame.begins else []
        self._waiting.append(frame)
        return rows + (self.finish() if len(self._waiting) == _CHUNK else [])

    def finish(self) -> list[Row]:
        """The rows of the frames that wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        if waiting[0].begins:
            self._stream.reset()
        steps = self._stream.steps(torch.stack([frame.picture for frame in waiting])[None])
        return [
            Row(self._span.feed(frame.second, frame.begins), step.scores[0], frame.begins)
            for frame, step in zip(waiting, steps, strict=True)
        ]


class WindowRows:
    """A row for each window of T frames, and a last one that ends with the stretch, so that no frame is left out.

    A stretch shorter than T repeats its last frame, as a short clip does.

    Args:
        recognizer: of any network.
        hop: frames from one window to the next, 1 to T; None takes half of T.
        together: windows that the network takes in one pass; those before wait for it.
    """

    def __init__(self, recognizer: Recognizer, hop: int | None = None, *, together: int = _WINDOWS):
        self._recognizer = recognizer
        self._frames = recognizer.num_frames
        self._hop = max(1, self._frames // 2) if hop is None else hop
        self._together = together
        self._window: deque[Taken] = deque(maxlen=self._frames)
        self._fresh, self._unseen = True, 0  # no window of this stretch yet; frames that lie in none
        self._waiting: list[Window] = []

    def feed(self, frame: Taken) -> list[Row]:
        """Take the next frame."""
        if frame.begins:
            if self._unseen:
                self._cut()
            self._window.clear()
            self._fresh, self._unseen = True, 0
        self._window.append(frame)
        self._unseen += 1
        if len(self._window) == self._frames and (self._fresh or self._unseen >= self._hop):
            self._cut()
        return self._scored() if len(self._waiting) >= self._together else []

    def finish(self) -> list[Row]:
        """The rows of the windows that wait and of the frames that lie in none."""
        if self._unseen:
            self._cut()
        return self._scored()

    def _cut(self) -> None:
        window = [*self._window, *[self._window[-1]] * (self._frames - len(self._window))]
        reach = window[0].second, window[-1].second
        self._waiting.append(Window(reach, torch.stack([frame.picture for frame in window]), self._fresh))
        self._fresh, self._unseen = False, 0

    def _scored(self) -> list[Row]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        clips = torch.stack([window.pictures for window in waiting]).to(self._recognizer.device)
        missing = self._together - len(clips)
        if missing > 0 and is_compiled(self._recognizer.model):  # no second program for the last ones
            clips = torch.cat([clips, clips[-1:].expand(missing, *clips.shape[1:])])
        with torch.inference_mode():
            scores = to_probabilities(self._recognizer.model(clips)[: len(waiting)])
        return [Row(window.reach, row, window.begins) for window, row in zip(waiting, scores, strict=True)]
