"""What a recogniser says about one video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one video, or why there is none.

    Args:
        path: the file; empty for frames from memory.
        labels: the best classes as (name, score), best first; scores of all classes sum to 1.
        scores: (classes,) all of them, in the order of the recogniser's class names; None without an answer.
        frame_indices: (clips, T) numbers of the frames looked at, counted from the start of the file.
        times: (clips, T) where these frames stand in the file, seconds; None without a clock (pictures, memory).
        num_frames: frames in the video or in its span.
        error: why the video could not be read; None when it was.
    """

    path: str = ""
    labels: tuple[tuple[str, float], ...] = ()
    scores: np.ndarray | None = None
    frame_indices: np.ndarray | None = None
    times: np.ndarray | None = None
    num_frames: int = 0
    error: str | None = None

    @property
    def label(self) -> str | None:
        """The best class's name; None without an answer."""
        return self.labels[0][0] if self.labels else None

    @property
    def span(self) -> tuple[float, float] | None:
        """First and last time looked at, seconds."""
        return None if self.times is None else (float(self.times.min()), float(self.times.max()))

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values, without `scores`."""
        return {
            "path": self.path,
            "labels": [{"name": name, "score": score} for name, score in self.labels],
            "num_frames": self.num_frames,
            "frame_indices": None if self.frame_indices is None else self.frame_indices.tolist(),
            "times": None if self.times is None else self.times.round(6).tolist(),
            "error": self.error,
        }

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Prediction({self.path!r}, error={self.error!r})"
        best = ", ".join(f"{name} {100 * score:.1f} %" for name, score in self.labels)
        return f"Prediction({self.path!r}: {best})" if self.path else f"Prediction({best})"
