"""Sampling of T frames from a video: sparse (TSN) or dense (section 4 of the TEINet paper)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from teinet.data.lists.rows import ClipList
from teinet.data.video.flow import Modality, clip_reader
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import ConfigError, VideoError, nearest

STRATEGIES = ("sparse", "dense")
_MEASURED = 32  # clips that are measured, evenly spread: their median is close enough


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The choice of T frames from a video of n frames.

    Args:
        num_frames: T, at least 1.
        strategy: "sparse" takes one frame from each of T equal parts of the video (Something-Something);
            "dense" takes the middles of T equal parts of a window of consecutive frames (Kinetics, UCF101, HMDB51).
        window: frames in the dense window, at least 1; a shorter video is one window.
        adjacent: frames in a row that "sparse" takes from each of T / adjacent equal parts (5 in StNet).

    Indices are from 0 to n-1, and sorted unless rows of adjacent frames overlap: a video shorter than T repeats
    neighboring frames, without wrapping or padding.

    Raises:
        ConfigError: a strategy that does not exist, or a number below 1.
    """

    num_frames: int = 8
    strategy: Literal["sparse", "dense"] = "sparse"
    window: int = 64
    adjacent: int = 1

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            hint = nearest(str(self.strategy), STRATEGIES)
            raise ConfigError(f"sampling strategy {self.strategy!r} does not exist; use sparse or dense.{hint}")
        if self.num_frames < 1 or self.window < 1:
            raise ConfigError(f"num_frames ({self.num_frames}) and window ({self.window}) must be at least 1")
        if self.adjacent < 1 or self.num_frames % self.adjacent:
            raise ConfigError(f"num_frames is {self.num_frames}; it must be a multiple of adjacent, {self.adjacent}")

    def train(self, n: int, rng: np.random.Generator, min_part: float = 1.0) -> np.ndarray:
        """Draw the frame indices (T,) of a training clip from a video of n >= 1 frames.

        With `min_part` below 1, they are from a part of the video, or of the window, whose share of it is drawn evenly
        between that and 1: the action begins elsewhere and has another speed.
        """
        if n < 1:
            raise ValueError(f"cannot choose frames from a video of {n} frames")
        share = rng.uniform(min_part, 1) if min_part < 1 else 1.0
        if self.strategy == "sparse":
            parts = self.num_frames // self.adjacent
            length = min(n, max(self.num_frames, round(n * share)))
            first = rng.integers(n - length + 1) if length < n else 0
            indices = first + self._rows(np.floor((np.arange(parts) + rng.random(parts)) * (length / parts)), length)
        else:
            length = min(max(self.num_frames, round(self.window * share)) if share < 1 else self.window, n)
            start = rng.integers(n - length + 1)
            indices = start + _middles(length, self.num_frames)
        # A fraction just below 1 may round up to the first frame of the next segment: the last index must stay inside.
        return np.minimum(indices, n - 1).astype(np.int64)

    def test(self, n: int, num_clips: int = 1) -> np.ndarray:
        """Return the frame indices (V, T) of V = num_clips evenly spread test clips of a video of n >= 1 frames."""
        if n < 1 or num_clips < 1:
            raise ValueError(f"{num_clips} clips of a video of {n} frames: both must be at least 1")
        clips = np.arange(num_clips)[:, None]  # (V, 1)
        if self.strategy == "sparse":
            # floor((i + (j + 0.5) / V) * n / T), in integers so that no rounding moves a frame
            parts = self.num_frames // self.adjacent
            indices = ((2 * np.arange(parts)[None] * num_clips + 2 * clips + 1) * n) // (2 * num_clips * parts)
            indices = self._rows(indices, n)
        else:
            length = min(self.window, n)
            last = n - length
            starts = clips * last // (num_clips - 1) if num_clips > 1 else np.array([[last // 2]])
            indices = starts + _middles(length, self.num_frames)[None]  # (V, T)
        return np.minimum(indices, n - 1).astype(np.int64)

    def _rows(self, starts: np.ndarray, n: int) -> np.ndarray:
        """Return the `adjacent` frames from each start: (..., T) of (..., parts); the last one is n-1 at most."""
        if self.adjacent == 1:
            return starts
        starts = np.minimum(starts, max(n - self.adjacent, 0))
        return (starts[..., None] + np.arange(self.adjacent)).reshape(*starts.shape[:-1], -1)


def _middles(length: int, num_frames: int) -> np.ndarray:
    return (2 * np.arange(num_frames) + 1) * length // (2 * num_frames)


def typical_frame_interval(clips: ClipList, sampling: Sampling) -> float | None:
    """Return the median seconds between the frames of training clips; None if no readable clip has timestamps."""
    found = []
    for row in _some(clips):
        path, (start, end) = clips.paths[row], clips.span(row)
        try:
            reader = VideoReader(file_of_list(path), max_damaged=clips.max_damaged)
            frames, seconds = len(reader.frames_shown(start, end)), reader.seconds_shown(start, end)
        except VideoError:
            continue
        if seconds is None:
            continue
        if sampling.strategy == "dense":
            seconds *= min(1.0, sampling.window / frames)
        found.append(seconds / sampling.num_frames)
    return round(median(found), 4) if found else None


def typical_whole_frame(clips: ClipList, short_side: int, modality: Modality = "rgb") -> tuple[int, int]:
    """Return height and width, pixels, of a whole frame scaled to a short side, in the clips' median proportions.

    Those of 16:9 where no clip can be read; one side is at most three times the other.
    """
    ratios = []
    for row in _some(clips):
        try:
            width, height = clip_reader(clips.paths[row], modality, max_damaged=1.0).size
        except VideoError:
            continue
        ratios.append(width / height)
    ratio = median(ratios) if ratios else 16 / 9
    long_side = round(short_side * min(max(ratio, 1 / ratio), 3))
    return (short_side, long_side) if ratio >= 1 else (long_side, short_side)


def _some(clips: ClipList) -> list[int]:
    """Return the rows of a few clips, evenly spread."""
    return sorted({round(row) for row in np.linspace(0, len(clips) - 1, min(_MEASURED, len(clips)))})
