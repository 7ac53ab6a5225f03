"""Reads exactly the frames asked for from a video file, an animated GIF or a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
import torch
from av.container import InputContainer

from teinet.data.video import image_folder
from teinet.data.video.container import open_video
from teinet.data.video.index import FrameIndex, corrected, decode_all, frame_index
from teinet.data.video.pixels import Converter
from teinet.errors import VideoError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .avi .divx .mkv .webm .gif .mpg .mpeg .mpe .m1v .m2v .vob .ts .m2ts .mts .flv .f4v .wmv .asf "
    ".ogv .ogg .3gp .3g2 .mxf .rm .rmvb .y4m .h264 .264 .h265 .hevc .ivf .nut .dv .mjpeg .mjpg .apng".split()
)

# Packets promise a frame or two too many in sound files; where more is missing, the video is not what it was.
DAMAGED = 0.9
_WORTH_A_JUMP = 8  # frames; fewer are decoded sooner than the decoder is set up anew

Choice = Callable[[int], "Sequence[int] | np.ndarray"]


@dataclass(frozen=True)
class VideoInfo:
    """Facts of one video. Width and height are after rotation; `rotation` is the counterclockwise turn in degrees that
    makes the stored pictures upright. `duration` is how long pictures are shown, `end` when the last one has been, by
    the clock of the file (seconds): later, where sound runs before. A folder of pictures has no frame rate and neither.
    """

    path: str
    num_frames: int
    frame_rate: float | None
    duration: float | None
    end: float | None
    width: int
    height: int
    rotation: int
    codec: str


@dataclass(frozen=True)
class Frames:
    """Decoded frames: `data` (N, H, W, 3) uint8, their `indices` (N,) in the whole video, their `times` (N,) in seconds
    from its start (NaN for a folder of pictures), and `num_frames`, those in the video, or in the span asked for."""

    data: torch.Tensor
    indices: np.ndarray
    times: np.ndarray
    num_frames: int
    path: str


def is_video(path: str | os.PathLike[str]) -> bool:
    """Say whether a path looks like a video: a file with a video's suffix, or a folder with numbered pictures."""
    path = os.fspath(path)
    if not image_folder.is_folder(path):
        return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES
    try:
        return bool(image_folder.pictures(path))
    except VideoError:
        return False


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Return a video's facts, its frames truly counted; VideoError where it cannot be read."""
    path = os.fspath(path)
    if image_folder.is_folder(path):
        names = image_folder.pictures(path)
        width, height = image_folder.read_picture(path, names[0]).size
        codec = os.path.splitext(names[0])[1][1:].lower()
        return VideoInfo(path, len(names), None, None, None, width, height, 0, codec)
    index = frame_index(path)
    facts = (index.width, index.height, index.rotation, index.codec)
    return VideoInfo(path, index.num_frames, index.frame_rate, index.duration, index.end, *facts)


def count_frames(path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None) -> int:
    """Return the number of frames that `read_clip` lets choose from; VideoError where it could not."""
    path = os.fspath(path)
    if image_folder.is_folder(path):
        _refuse_seconds(path, start, end)
        return len(image_folder.pictures(path))
    first, last = frames_between(path, frame_index(path), start, end)
    return last - first


def read_clip(
    path: str | os.PathLike[str],
    choose: Choice,
    *,
    start: float | None = None,
    end: float | None = None,
    threads: int | Literal["auto"] = 1,
) -> Frames:
    """Decode the frames that `choose` picks, each once, and stop after the last.

    Args:
        path: a file that FFmpeg reads, a folder of numbered pictures, or a pattern of their names in it
            (`folder/img_%05d.jpg`).
        choose: is given n, the number of frames in the video or span, and returns indices in 0..n-1 in any order,
            repeats allowed. Where decoding gives another number of frames than the packets promised, it is called
            again with the true one.
        start: seconds; only frames shown at or after it count.
        end: seconds; only frames shown before it count.
        threads: decoder threads; 1 suits data workers, of which there are many, "auto" a single file.

    Raises:
        VideoError: the file is missing, empty, cut off, no video, or has no frames in the span; the reason is one line.
    """
    path = os.fspath(path)
    if image_folder.is_folder(path):
        return _read_folder(path, choose, start, end)
    index = frame_index(path)
    for _ in range(3):
        first, last = frames_between(path, index, start, end)
        chosen = _chosen(choose, last - first) + first
        wanted, places = np.unique(chosen, return_inverse=True)
        data, counted = _decode(path, index, wanted, threads)
        if data is not None:
            break
        if counted == 0:
            raise VideoError(path, "no frame of it can be decoded")
        if counted < DAMAGED * index.num_frames:
            raise VideoError(path, f"damaged: only {counted} of its {index.num_frames} frames can be decoded")
        index = corrected(path, index, counted)
    else:
        raise VideoError(path, "gives another number of frames each time that it is decoded")
    if not np.array_equal(places, np.arange(len(wanted))):
        data = data[places]
    return Frames(torch.from_numpy(data), chosen, index.times[chosen], last - first, path)


def _read_folder(path: str, choose: Choice, start: float | None, end: float | None) -> Frames:
    _refuse_seconds(path, start, end)
    names = image_folder.pictures(path)
    chosen = _chosen(choose, len(names))
    size = image_folder.read_picture(path, names[0]).size
    wanted, places = np.unique(chosen, return_inverse=True)
    data = image_folder.read_pictures(path, [names[i] for i in wanted], size)[places]
    return Frames(torch.from_numpy(data), chosen, np.full(len(chosen), np.nan), len(names), path)


def _refuse_seconds(path: str, start: float | None, end: float | None) -> None:
    if start is not None or end is not None:
        raise VideoError(path, "a folder of pictures has no clock: start and end in seconds cannot be used")


def frames_between(path: str, index: FrameIndex, start: float | None, end: float | None) -> tuple[int, int]:
    """Return the first frame of a span (seconds) and the one after its last; VideoError where it holds none."""
    # Times are multiples of a time base: a millionth of a second forgives the rounding of a written number.
    first = 0 if start is None else int(np.searchsorted(index.times, start - 1e-6))
    last = index.num_frames if end is None else int(np.searchsorted(index.times, end - 1e-6))
    if first >= last:
        until = "its end" if end is None else f"{end:g} s"
        length = "" if index.end is None else f"; the video ends at {index.end:.2f} s"
        raise VideoError(path, f"no frames between {start or 0:g} s and {until}{length}")
    return first, last


def _chosen(choose: Choice, n: int) -> np.ndarray:
    chosen = np.asarray(choose(n), dtype=np.int64).reshape(-1)
    if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= n:
        raise IndexError(f"frames chosen must be some of 0..{n - 1}, not {chosen.tolist()}")
    return chosen


def _decode(
    path: str, index: FrameIndex, wanted: np.ndarray, threads: int | str, pixels: Literal["rgb", "luma"] = "rgb"
) -> tuple[np.ndarray | None, int]:
    """Decode the `wanted` frames (ascending); if some never come, return None and the true number of frames."""
    data = np.empty((len(wanted), index.height, index.width, 3)[: 4 if pixels == "rgb" else 3], np.uint8)
    attempts = (_jumping, _plain) if len(index.keys) else (_plain,)
    for attempt in attempts:
        convert = Converter(index.height, index.width, pixels)
        found = 0
        count = 0
        with open_video(path, threads) as (container, stream):
            for i, frame in attempt(container, stream, index, wanted):
                count = i + 1
                if i > wanted[found]:  # it never came: the packets' timestamps are not the frames'
                    break
                if i == wanted[found]:
                    convert(frame, data[found])
                    found += 1
                    if found == len(wanted):
                        if attempt is not attempts[0]:  # jumping has failed: not again
                            corrected(path, index, index.num_frames)
                        return data, index.num_frames
    return None, count


Numbered = Iterator[tuple[int, av.VideoFrame]]


def _plain(container: InputContainer, stream: av.VideoStream, index: FrameIndex, wanted: np.ndarray) -> Numbered:
    """Number the frames as they come out, from the beginning: always right."""
    yield from enumerate(decode_all(container, stream))


def _jumping(container: InputContainer, stream: av.VideoStream, index: FrameIndex, wanted: np.ndarray) -> Numbered:
    """Jump to keyframes where that skips frames; number by timestamps, and end early where they do not fit."""
    remaining = iter(wanted.tolist())
    target = next(remaining)
    position = 0  # the next frame to come out
    key = _key_before(index, target)
    while True:
        if key > position:
            container.seek(int(index.pts[key]), stream=stream, backward=True)
            position = key
        jumped = False
        for frame in decode_all(container, stream):
            if position > 0 and frame.pts is not None and frame.pts < index.pts[position]:
                continue  # shown before the keyframe: the container jumped further back than asked
            if position >= index.num_frames or frame.pts != index.pts[position]:
                return
            yield position, frame
            position += 1
            if position > target:
                target = next(remaining, None)
                if target is None:
                    return
                key = _key_before(index, target)
                if key > position + _WORTH_A_JUMP:
                    jumped = True
                    break
        if not jumped:
            return


def _key_before(index: FrameIndex, target: int) -> int:
    place = int(np.searchsorted(index.keys, target, side="right")) - 1
    return int(index.keys[place]) if place >= 0 else 0
