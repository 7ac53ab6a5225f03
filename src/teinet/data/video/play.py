"""Reads a video once from beginning to end, however long: a frame at a time, with its second, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np

from teinet.data.video import image_folder
from teinet.data.video.container import open_video, stated_length
from teinet.data.video.index import decode_all
from teinet.data.video.pixels import Converter, is_transposed
from teinet.errors import VideoError

_RATE = 25.0  # frames a second, where neither timestamps nor a rate tell


@dataclass
class Condition:
    """In what condition a file is, as far as it was played.

    Args:
        broken: packets and frames that could not be decoded whole.
        end: the second until which the last frame is shown.
    """

    broken: int = 0
    end: float = 0.0


def play(
    path: str | os.PathLike[str],
    wanted: Callable[[float], bool] = lambda second: True,
    *,
    condition: Condition | None = None,
    threads: int | Literal["auto"] = "auto",
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a file and yield the frames that are wanted.

    Args:
        path: a file that FFmpeg reads.
        wanted: is asked for every frame once, in order, by its second from the file's start; pictures are made of the
            frames alone for which it says yes.
        condition: takes what turns out to be broken.
        threads: of the decoder, at least 1.

    Yields:
        (second, picture): (H, W, 3) uint8 RGB, upright; H and W change where the file's do.

    Raises:
        VideoError: no such file, no video, a folder of pictures, or not one frame that can be decoded.
    """
    path = os.fspath(path)
    if image_folder.is_folder(path):
        raise VideoError(path, "a folder of pictures has no clock")
    condition = Condition() if condition is None else condition
    convert: Converter | None = None
    found = False
    for second, frame in _frames(path, threads, condition):
        found = True
        if not wanted(second):
            continue
        height, width = (frame.width, frame.height) if is_transposed(frame) else (frame.height, frame.width)
        if convert is None or (convert.height, convert.width) != (height, width):
            convert = Converter(height, width)
        picture = np.empty((height, width, 3), np.uint8)
        convert(frame, picture)
        yield second, picture
    if not found:
        raise VideoError(path, "no frame of it can be decoded")


def promised_length(path: str | os.PathLike[str]) -> float | None:
    """`stated_length` of a file, at once and without a look at its frames; None also where it cannot be opened."""
    try:
        with open_video(os.fspath(path)) as (container, stream):
            return stated_length(container, stream)
    except VideoError:
        return None


Timed = Iterator[tuple[float, av.VideoFrame]]


def _frames(path: str, threads: int | str, condition: Condition) -> Timed:
    with open_video(path, threads) as (container, stream):
        yield from _timed(container, stream, condition)


def _timed(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    condition: Condition,
) -> Timed:
    """Frames and their seconds; one without a timestamp follows the one before at the stream's rate."""

    def count() -> None:
        condition.broken += 1

    begin = _begin(container)
    base = float(stream.time_base or 0)
    apart = 1 / float(stream.average_rate or stream.guessed_rate or _RATE)
    second = -apart
    for frame in decode_all(container, stream, None, count):
        second = second + apart if frame.pts is None else frame.pts * base - begin
        condition.broken += bool(frame.is_corrupt)
        condition.end = second + (frame.duration * base or apart)
        yield second, frame


def _begin(container: av.container.InputContainer) -> float:
    return (container.start_time or 0) / av.time_base
