"""Films made of clips: clips as pictures of one size at one rate, and the file that pictures are written to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from teinet.data.lists.rows import Row
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import VideoWriter
from teinet.errors import VideoError

_AT_ONCE = 32  # pictures in memory

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of a list, its frames counted.

    Args:
        row: what the list says of it.
        size: of its pictures.
        rate: frames a second; None for a folder of pictures.
        times: (n,) seconds of its frames from the first one; None for a folder of pictures.
        frames: n.
    """

    row: Row
    size: Size
    rate: Fraction | None
    times: np.ndarray | None
    frames: int

    def shown(self, rate: Fraction) -> np.ndarray:
        """Which frame stands at each moment 0, 1/rate, ... of the clip: the nearest in time, at first the first.

        A clip of that rate gives all its frames once; so does a folder of pictures, which has no rate of its own.
        """
        if self.times is None or self.rate is None:
            return np.arange(self.frames)
        count = max(1, round((self.times[-1] + 1 / self.rate) * rate))
        moments = np.arange(count) / float(rate)
        after = np.searchsorted(self.times, moments).clip(1, max(1, self.frames - 1))
        before = after - 1
        if self.frames == 1:
            return np.zeros(count, np.int64)
        nearer = self.times[after] - moments < moments - self.times[before] - 1e-9
        return np.where(nearer, after, before)

    def pictures(self, size: Size, rate: Fraction) -> Iterator[np.ndarray]:
        """Its pictures (H, W, 3) uint8 RGB at that size and rate, some read at a time.

        Raises:
            VideoError: it cannot be read to its end.
        """
        shown = self.shown(rate)
        for begin in range(0, len(shown), _AT_ONCE):
            part = shown[begin : begin + _AT_ONCE]

            def these(n: int, part: np.ndarray = part) -> np.ndarray:
                if n != self.frames:
                    raise VideoError(self.row.path, "gives another number of frames each time that it is decoded")
                return part

            frames = VideoReader(self.row.path).sample(these, self.row.start, self.row.end)
            for picture in frames.images:
                yield fitted(picture, size)


def look_at(row: Row) -> Clip:
    """Count a clip's frames; the last one is decoded, so that a file that promises more than it holds is found out.

    Raises:
        VideoError: it cannot be read.
    """
    video = VideoReader(row.path)
    count = video.sample(lambda n: [n - 1], row.start, row.end)
    height, width = count.images.shape[1:3]
    if video.is_image_folder:
        return Clip(row, (width, height), None, None, count.num_frames)
    shown = video.frames_shown(row.start, row.end)
    times = video.times[shown.start : shown.stop] - video.times[shown.start]
    return Clip(row, (width, height), usual_rate(video.frame_rate or 25), times, len(shown))


def usual_rate(measured: float) -> Fraction:
    """The rate that a measured number of frames a second stands for: 30, 30000/1001, 12.5."""
    for rate in (Fraction(round(measured)), Fraction(round(measured * 1.001) * 1000, 1001)):
        if rate and abs(measured / rate - 1) < 2e-4:
            return rate
    return Fraction(measured).limit_denominator(1001)


def fitted(picture: np.ndarray, size: Size) -> np.ndarray:
    """A picture (H, W, 3) scaled to fit into `size` as it is, with black beside or above and below it."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    scaled = Image.fromarray(picture).resize(inner, Image.Resampling.BICUBIC)
    out[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return out


class Film:
    """A video file under way: frame n is shown at n / rate seconds; `frames` counts those written."""

    def __init__(self, writer: VideoWriter):
        self._writer = writer

    @property
    def frames(self) -> int:
        return self._writer.num_frames

    def add(self, picture: np.ndarray, times: int = 1) -> None:
        """Write a picture (H, W, 3) uint8 RGB, or hold it for some frames."""
        for _ in range(times):
            self._writer.write(picture)


@contextmanager
def open_film(path: str | os.PathLike, rate: Fraction, *, quality: int = 18) -> Iterator[Film]:
    """Give a film to add pictures to; the .mp4 stands there, whole, when the block ends well, and not at all otherwise.

    Args:
        path: the file; its folder exists.
        rate: frames a second.
        quality: x264's rate factor, 0 (best) to 51.

    Raises:
        OSError: the file cannot be written.
    """
    with VideoWriter(path, rate, quality=quality) as writer:
        yield Film(writer)
