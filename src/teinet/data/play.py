"""Reads a video once from beginning to end, however long: a frame at a time, with its second, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Literal

import av
import numpy as np

from teinet.data import image_folder
from teinet.data.container import open_video
from teinet.data.frame_index import decode_all
from teinet.data.picture import Converter, is_transposed
from teinet.errors import VideoError

_RATE = 25.0  # frames a second, where neither timestamps nor a rate tell


def play(
    path: str | os.PathLike[str],
    wanted: Callable[[float], bool] = lambda second: True,
    *,
    threads: int | Literal["auto"] = "auto",
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a file and yield the frames that are wanted.

    Args:
        path: a file that FFmpeg reads.
        wanted: is asked for every frame once, in order, by its second from the file's start; pictures are made of the
            frames alone for which it says yes.
        threads: of the decoder.

    Yields:
        (second, picture): (H, W, 3) uint8 RGB, upright, of the first picture's size.

    Raises:
        VideoError: no such file, no video, a folder of pictures, or not one frame that can be decoded.
    """
    path = os.fspath(path)
    if image_folder.is_folder(path):
        raise VideoError(path, "a folder of pictures has no clock")
    convert: Converter | None = None
    number = 0
    with open_video(path, threads) as (container, stream):
        begin = (container.start_time or 0) / av.time_base
        base = float(stream.time_base or 0)
        apart = 1 / float(stream.average_rate or stream.guessed_rate or _RATE)
        second = -apart
        for frame in decode_all(container, stream):
            number += 1
            second = second + apart if frame.pts is None else frame.pts * base - begin
            if not wanted(second):
                continue
            if convert is None:
                turned = is_transposed(frame)
                height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
                convert = Converter(height, width)
            picture = np.empty((convert.height, convert.width, 3), np.uint8)
            convert(frame, picture)
            yield second, picture
    if not number:
        raise VideoError(path, "no frame of it can be decoded")
