"""A small copy of one video or folder of images: all frames with their times, upright, without sound."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from teinet.data.lists.data_config import MAX_DAMAGED, check_max_damaged
from teinet.data.video import image_folder
from teinet.data.video.pixels import Filters, display_matrix
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.data.video.writer import VideoWriter
from teinet.errors import ConfigError, VideoError
from teinet.utils.files import replacing
from teinet.utils.worker_pool import Beat

_QUALITY = 90  # of images
_TICK = Fraction(1, 1_000_000)  # seconds: finer than the times of any container, and than the rounding of readers


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """Settings of small copies.

    Args:
        short_side: pixels of the shorter side, at least 16; smaller clips keep their size.
        keyframes: frames from one keyframe to the next, at least 1.
        quality: x264's constant rate factor, 0 (lossless) to 51; JPEGs have quality 90.
        max_damaged: largest share of a file's frames that may be lost or damaged, 0 to 1.

    Raises:
        ConfigError: a value out of range.
    """

    short_side: int = 256
    keyframes: int = 16
    quality: int = 23
    max_damaged: float = MAX_DAMAGED

    def __post_init__(self) -> None:
        check_max_damaged(self.max_damaged, "max_damaged")
        if self.short_side < 16 or self.keyframes < 1 or not 0 <= self.quality <= 51:
            raise ConfigError(
                f"short side is {self.short_side}, keyframes {self.keyframes}, quality {self.quality}; they must be at "
                "least 16, at least 1, and 0 to 51"
            )

    def size(self, width: int, height: int, *, even: bool = False) -> tuple[int, int]:
        """Return the (width, height) of a copy in pixels; with `even` the nearest even ones, at least 2, for h264."""
        scale = min(1.0, self.short_side / min(width, height))
        if not even:
            return max(1, round(width * scale)), max(1, round(height * scale))
        small = (max(2, min(2 * round(side * scale / 2), side // 2 * 2)) for side in (width, height))
        return next(small), next(small)


def shrink_video(source: str, target: Path, settings: Shrinking, beat: Beat) -> tuple[float, str]:
    """Write a small copy of a video as h264 in .mp4, atomically.

    Args:
        source: a file that FFmpeg reads; not changed.
        target: the .mp4 file, in an existing folder.
        beat: called after each frame.

    Returns:
        Seconds by which frames are shown earlier in the copy, which begins with a frame; the source may with sound. And
        the damage of the source, in words: the copy shows the frame before for as long as frames are lost.

    Raises:
        VideoError: the source cannot be read, or not be encoded as h264; there is no target then.
        OSError: the target cannot be written.
    """
    video = VideoReader(file_of_list(source), threads=1, max_damaged=settings.max_damaged)
    try:
        for _ in range(3):
            count = _copy(video, target, settings, beat)
            if count != len(video) or (video.num_broken and not video.damage):  # as `verify` finds it
                video.recount(beat)
            if count == len(video):
                return float(video.times[0]), video.damage
        raise VideoError(source, "decodes to a different number of frames each time")
    except VideoError:
        target.unlink(missing_ok=True)
        raise


def _copy(video: VideoReader, target: Path, settings: Shrinking, beat: Beat) -> int:
    """Write the decoded frames, and return their number."""
    scale = _Scaler(settings.size(*video.size, even=True))
    starts = np.append(video.times, video.end_time or video.times[-1])
    ticks = np.round((starts - starts[0]) / float(_TICK)).astype(np.int64)
    durations = np.maximum(1, np.diff(ticks))
    count = 0
    with VideoWriter(
        target,
        video.frame_rate or 25,
        quality=settings.quality,
        keyframe_interval=settings.keyframes,
        time_base=_TICK,
        options={"keyint_min": "1", "sc_threshold": "0"},  # keyframes at the interval only
    ) as writer:
        for frame in video:
            if count < len(durations) and frame.raw is not None:
                writer.write(scale(frame.raw), ticks=int(ticks[count]), duration=int(durations[count]))
            count += 1
            beat()
    return count


class _Scaler:
    """Converts frames to upright 8-bit images of one size, in the color space that players assume for small videos."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._kind: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        matrix = display_matrix(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, matrix)
        if kind != self._kind:
            self._kind, self._filters = kind, Filters(frame, *self._steps(*matrix))
        return self._filters(frame)

    def _steps(self, right: int, down: int, left: int, up: int) -> list[tuple[str, str | None]]:
        """Return the filters for a display matrix a, b, c, d; they rotate like `pixels.upright`."""
        width, height = self.size
        turns: list[tuple[str, str | None]] = []
        if right == 0:
            width, height = height, width
            turns.append(("transpose", "0"))
            right, up = left, down
        turns += [("hflip", None)] * (right < 0) + [("vflip", None)] * (up < 0)
        scale = f"{width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int:out_range=tv:out_color_matrix=smpte170m"
        return [("scale", scale), ("format", "yuv420p"), *turns]


def shrink_images(source: str, target: Path, settings: Shrinking, beat: Beat) -> int:
    """Write small copies of images, atomically, with their names and formats.

    All get the size of the first one, as reading would give it; if that is small enough, files are copied.

    Args:
        source: a folder of images, or a pattern of their names; not changed.
        target: the folder to write to; created if missing.
        beat: called after each image.

    Returns:
        Bytes written.

    Raises:
        VideoError: an image cannot be read.
        OSError: the target cannot be written.
    """
    names = image_folder.image_names(source)
    folder = source if os.path.isdir(source) else image_folder.split(source)[0]
    whole = image_folder.read_image(source, names[0]).size
    size, written = settings.size(*whole), 0
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        image = image_folder.read_image(source, name)  # also before copying, to find broken images
        with replacing(target / name) as part:
            if size == whole:
                shutil.copyfile(os.path.join(folder, name), part)
            else:
                format = os.path.splitext(name)[1][1:].upper().replace("JPG", "JPEG")
                image.resize(size, Image.Resampling.BICUBIC).save(part, format, quality=_QUALITY)
        written += (target / name).stat().st_size
        beat()
    return written
