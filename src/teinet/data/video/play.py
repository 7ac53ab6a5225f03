"""Reads a video once from beginning to end: `VideoReader` as `detection.timeline` calls it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from teinet.data.video.container import stated_length as stated_length
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError


@dataclass
class Condition:
    """In what condition a file is: packets that could not be decoded whole, and when the last frame has been shown."""

    broken: int = 0
    end: float = 0.0


def play(
    path: str | os.PathLike[str],
    wanted: Callable[[float], bool] = lambda second: True,
    *,
    condition: Condition | None = None,
    threads: int | Literal["auto"] = "auto",
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the frames for whose second `wanted` says yes."""
    condition = Condition() if condition is None else condition
    reader = VideoReader(path, threads=threads)
    if reader.is_image_folder:
        raise VideoError(reader.path, "a folder of images has no clock")
    for frame in reader:
        condition.broken, condition.end = reader.num_broken, frame.time + frame.duration
        if wanted(frame.time):
            yield frame.time, frame.image
    condition.broken = reader.num_broken


def promised_length(path: str | os.PathLike[str]) -> float | None:
    """Return the length in seconds that a file states."""
    return VideoReader(path).stated_length
