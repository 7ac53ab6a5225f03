"""Which frames of a video a network sees: segments (TSN, sparse) or a dense window (section 4 of the TEINet paper)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from teinet.data.lists.rows import ClipList
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, VideoError, nearest

STRATEGIES = ("sparse", "dense")
_ASKED = 32  # clips whose spacing is measured, evenly spread: a median of them is near enough


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How T frames are chosen from a video of n frames.

    Args:
        num_frames: T, at least 1.
        strategy: "sparse" takes one frame from each of T equal parts of the video (Something-Something);
            "dense" takes the middles of T equal parts of a window of consecutive frames (Kinetics, UCF101, HMDB51).
        window: frames in the dense window; shorter videos are a window as a whole.

    Indices are sorted and lie in 0..n-1: a video shorter than T repeats neighbors, it is never wrapped or padded.
    """

    num_frames: int = 8
    strategy: Literal["sparse", "dense"] = "sparse"
    window: int = 64

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            hint = nearest(str(self.strategy), STRATEGIES)
            raise ConfigError(f"sampling strategy {self.strategy!r} does not exist: use one of {STRATEGIES}.{hint}")
        if self.num_frames < 1 or self.window < 1:
            raise ConfigError(f"num_frames ({self.num_frames}) and window ({self.window}) must be at least 1")

    def train(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the (T,) frame indices of a training clip from a video of n >= 1 frames."""
        if n < 1:
            raise ValueError(f"cannot choose frames from a video of {n} frames")
        segments = np.arange(self.num_frames)
        if self.strategy == "sparse":
            indices = np.floor((segments + rng.random(self.num_frames)) * (n / self.num_frames))
        else:
            length = min(self.window, n)
            start = rng.integers(n - length + 1)
            indices = start + _middles(length, self.num_frames)
        # Rounding can carry a fraction just below 1 to the next segment's first frame: the last index must stay inside.
        return np.minimum(indices, n - 1).astype(np.int64)

    def test(self, n: int, num_clips: int = 1) -> np.ndarray:
        """Return the (V, T) frame indices of V = num_clips evenly spread test clips of a video of n >= 1 frames."""
        if n < 1 or num_clips < 1:
            raise ValueError(f"{num_clips} clips of a video of {n} frames: both must be at least 1")
        clips = np.arange(num_clips)[:, None]  # (V, 1)
        if self.strategy == "sparse":
            # floor((i + (j + 0.5) / V) * n / T), in integers so that no rounding moves a frame
            segments = np.arange(self.num_frames)[None]  # (1, T)
            indices = ((2 * segments * num_clips + 2 * clips + 1) * n) // (2 * num_clips * self.num_frames)
        else:
            length = min(self.window, n)
            last = n - length
            starts = clips * last // (num_clips - 1) if num_clips > 1 else np.array([[last // 2]])
            indices = starts + _middles(length, self.num_frames)[None]  # (V, T)
        return np.minimum(indices, n - 1).astype(np.int64)


def _middles(length: int, num_frames: int) -> np.ndarray:
    return (2 * np.arange(num_frames) + 1) * length // (2 * num_frames)


def typical_frame_interval(clips: ClipList, sampling: Sampling) -> float | None:
    """Median seconds between a training clip's frames, over some readable clips; None where none has a clock."""
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(_ASKED, len(clips))).astype(int)) if len(clips) else []
    found = []
    for row in map(int, chosen):
        path, (start, end) = clips.paths[row], clips.span(row)
        try:
            reader = VideoReader(path)
            if reader.duration is None:
                continue
            frames = len(reader.frames_shown(start, end))
        except VideoError:
            continue
        if sampling.strategy == "dense":
            frames = min(frames, sampling.window)
        found.append(frames * reader.duration / len(reader) / sampling.num_frames)
    return round(median(found), 4) if found else None
