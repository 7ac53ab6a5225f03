"""Reads a video once from beginning to end, however long: a frame at a time, with its second, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import av
import numpy as np

from teinet.data.video import image_folder
from teinet.data.video.container import open_video, stated_length
from teinet.data.video.index import decode_all, is_seekable
from teinet.data.video.keyframes import is_idr
from teinet.data.video.pixels import Converter, is_transposed
from teinet.errors import VideoError

_RATE = 25.0  # frames a second, where neither timestamps nor a rate tell
_TRIES = 20  # keyframes, one before the other, of which one must be a clean start


@dataclass(frozen=True)
class Place:
    """How far a file was played, so that playing can go on there.

    Args:
        frames: that it has shown, at least 1.
        second: of the last of them.
        ordered: whether each was later than the one before.
    """

    frames: int
    second: float
    ordered: bool


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
    after: Place | None = None,
    passed: Callable[[float], object] = lambda second: None,
    condition: Condition | None = None,
    threads: int | Literal["auto"] = "auto",
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a file and yield the frames that are wanted.

    Args:
        path: a file that FFmpeg reads.
        wanted: is asked for every frame once, in order, by its second from the file's start; pictures are made of the
            frames alone for which it says yes.
        after: go on after this place, as if all before it had been played. Decoding starts at the keyframe before it,
            where the kind of file and its order allow that, else at the beginning.
        passed: is called with the second of each frame that is decoded on the way to that place; what it raises ends
            the playing.
        condition: takes what turns out to be broken; what lies before `after` is not counted again.
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
    number = 0 if after is None else after.frames
    frames = (
        _frames(path, threads, condition) if after is None else _frames_after(path, threads, condition, after, passed)
    )
    for second, frame in frames:
        number += 1
        if not wanted(second):
            continue
        height, width = (frame.width, frame.height) if is_transposed(frame) else (frame.height, frame.width)
        if convert is None or (convert.height, convert.width) != (height, width):
            convert = Converter(height, width)
        picture = np.empty((height, width, 3), np.uint8)
        convert(frame, picture)
        yield second, picture
    if not number:
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


def _frames_after(
    path: str, threads: int | str, condition: Condition, place: Place, passed: Callable[[float], object]
) -> Timed:
    broken = condition.broken

    def pass_over(second: float) -> None:
        condition.broken = broken  # it was counted when it was played
        passed(second)

    if place.ordered:
        with open_video(path, threads) as (container, stream):
            packets = _from_keyframe(container, stream, place.second)
            if packets is not None:
                met = False  # the very frame that was the last: else the jump went astray
                for second, frame in _timed(container, stream, condition, packets):
                    if met:
                        yield second, frame
                    elif second > place.second:
                        break
                    else:
                        pass_over(second)
                        met = second == place.second
                if met:
                    return
    for number, (second, frame) in enumerate(_frames(path, threads, condition), 1):
        if number > place.frames:
            yield second, frame
        else:
            pass_over(second)


def _timed(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    condition: Condition,
    packets: Iterator[av.Packet] | None = None,
) -> Timed:
    """Frames and their seconds; one without a timestamp follows the one before at the stream's rate."""

    def count() -> None:
        condition.broken += 1

    begin = _begin(container)
    base = float(stream.time_base or 0)
    apart = 1 / float(stream.average_rate or stream.guessed_rate or _RATE)
    second = -apart
    for frame in decode_all(container, stream, packets, count):
        second = second + apart if frame.pts is None else frame.pts * base - begin
        condition.broken += bool(frame.is_corrupt)
        condition.end = second + (frame.duration * base or apart)
        yield second, frame


def _begin(container: av.container.InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _from_keyframe(
    container: av.container.InputContainer, stream: av.VideoStream, second: float
) -> Iterator[av.Packet] | None:
    """The packets from a keyframe on that is shown by `second`, from which all later frames come out as ever."""
    if not is_seekable(container, stream):
        return None
    codec = stream.codec_context
    target = limit = round((second + _begin(container)) / float(stream.time_base))
    for _ in range(_TRIES):
        try:
            container.seek(target, stream=stream, backward=True)
        except (av.FFmpegError, OSError):  # nothing lies before
            return None
        packets = container.demux(stream)
        first = next(packets, None)
        if first is None or first.pts is None:
            return None
        clean = first.is_keyframe and (codec.name != "h264" or is_idr(first, codec.extradata))
        if clean and first.pts <= limit:
            return chain([first], packets)
        target = min(target, first.pts, first.pts if first.dts is None else first.dts) - 1
    return None
