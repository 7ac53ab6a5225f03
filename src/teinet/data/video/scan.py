"""Reads a whole video once, frame by frame, as training would; says what is wrong with it, or how it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from teinet.data.video import image_folder
from teinet.data.video.container import open_video
from teinet.data.video.index import corrected, decode_all, frame_index
from teinet.data.video.pixels import Converter
from teinet.data.video.reader import DAMAGED, VideoInfo, probe
from teinet.errors import VideoError


def scan(path: str, beat: Callable[[], None] = lambda: None) -> VideoInfo:
    """Decode every frame of a video, in the memory of one.

    Args:
        path: as in `read_clip`.
        beat: called after every frame.

    Returns:
        Its facts, with the number of frames that can be decoded.

    Raises:
        VideoError: what `read_clip` of all its frames would raise.
    """
    if image_folder.is_folder(path):
        for name in image_folder.pictures(path):
            image_folder.read_picture(path, name)
            beat()
        return probe(path)
    index = frame_index(path)
    beat()
    count = _decode(path, index.height, index.width, beat)
    if count == 0:
        raise VideoError(path, "no frame of it can be decoded")
    if count < DAMAGED * index.num_frames:
        raise VideoError(path, f"damaged: only {count} of its {index.num_frames} frames can be decoded")
    if count != index.num_frames:
        corrected(path, index, count)
    return replace(probe(path), num_frames=count)


def _decode(path: str, height: int, width: int, beat: Callable[[], None]) -> int:
    convert, picture = Converter(height, width), np.empty((height, width, 3), np.uint8)
    count, kind = 0, None
    with open_video(path) as (container, stream):
        for frame in decode_all(container, stream):
            if kind != (kind := (frame.width, frame.height, frame.format.name)):  # what is new to the conversion
                convert(frame, picture)
            count += 1
            beat()
    return count
