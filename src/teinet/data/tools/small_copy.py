"""A small copy of one video or folder of images: every frame at its time, upright, in its colors, without sound."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from PIL import Image

from teinet.data.video import image_folder
from teinet.data.video.pixels import display_matrix
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import VideoWriter
from teinet.errors import ConfigError, VideoError
from teinet.utils.files import replacing
from teinet.utils.worker_pool import Beat

_JPEG_QUALITY = 90
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """How clips are made smaller.

    Args:
        short_side: pixels of the shorter side; smaller clips keep their size.
        keyframes: a frame that can be decoded without others, every so many frames.
        quality: x264's constant rate factor, 0 (lossless) to 51; images are JPEGs of quality 90.
    """

    short_side: int = 256
    keyframes: int = 16
    quality: int = 23

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.keyframes < 1 or not 0 <= self.quality <= 51:
            raise ConfigError(
                f"short side {self.short_side}, keyframes {self.keyframes}, quality {self.quality}: "
                "expected at least 16, at least 1, 0 to 51"
            )

    def size(self, width: int, height: int, *, even: bool = False) -> tuple[int, int]:
        """Return the size of a smaller clip in pixels: of the same shape, and never larger.

        With `even`, the nearest even one, for h264 halves its colors; at least 2.
        """
        scale = min(1.0, self.short_side / min(width, height))
        if not even:
            return max(1, round(width * scale)), max(1, round(height * scale))
        small = (max(2, min(2 * round(side * scale / 2), side // 2 * 2)) for side in (width, height))
        return next(small), next(small)


def shrink_video(source: str, target: Path, settings: Shrinking, beat: Beat) -> float:
    """Write a small copy of a video as h264 in .mp4, whole or not at all.

    Args:
        source: a file that FFmpeg reads; not changed.
        target: the .mp4 file; its folder exists.
        settings: size and quality.
        beat: called after every frame.

    Returns:
        Seconds by which frames are shown earlier in the copy: it begins with its first frame, the source may begin with
        sound.

    Raises:
        VideoError: the source cannot be read, or h264 cannot hold it.
        OSError: the target cannot be written.
    """
    video = VideoReader(source, threads=1)
    for _ in range(3):
        try:
            _copy(video, target, settings, beat)
            return float(video.times[0])
        except _OtherCount as other:
            video.correct_count(other.num_frames)
    raise VideoError(source, "gives another number of frames each time that it is decoded")


class _OtherCount(Exception):
    """Decoding gave another number of frames than the packets promised."""

    def __init__(self, num_frames: int):
        self.num_frames = num_frames


def _copy(video: VideoReader, target: Path, settings: Shrinking, beat: Beat) -> None:
    scale, count = _Scaler(settings.size(*video.size, even=True)), 0
    with video.open() as stream:
        time_base, ticks, durations = _clock(video, stream.time_base)
        shape = stream.pixel_shape  # the library ignores it, players do not
        if shape and video.rotation in (90, 270):
            shape = 1 / shape
        with VideoWriter(
            target,
            video.frame_rate or 25,
            quality=settings.quality,
            keyframe_interval=settings.keyframes,
            time_base=time_base,
            pixel_shape=shape,
            faststart=True,
            options={"keyint_min": "1", "sc_threshold": "0"},  # keyframes where they are expected, no others
        ) as writer:
            for frame in stream:
                raw = frame.raw
                if count < len(ticks) and raw is not None:
                    if count == len(ticks) - 1 and raw.duration and raw.time_base:  # no next frame tells how long
                        durations[count] = max(1, round(raw.duration * raw.time_base / time_base))
                    writer.write(scale(raw), ticks=int(ticks[count]), duration=int(durations[count]))
                count += 1
                beat()
            if count != len(ticks):
                raise _OtherCount(count)


def _clock(video: VideoReader, time_base: Fraction | None) -> tuple[Fraction, np.ndarray, np.ndarray]:
    """A time base in which every frame's time is a whole number, and these numbers, from 0, with each one's length."""
    times = video.times - video.times[0]
    bases = [time_base] if time_base else []
    if video.frame_rate:
        bases.append(1 / Fraction(video.frame_rate).limit_denominator(1001))
    base, ticks = Fraction(1), times
    for base in (*bases, Fraction(1, 1_000_000)):
        ticks = np.round(times / float(base)).astype(np.int64)
        if np.abs(ticks * float(base) - times).max() < 1e-6:
            break
    gaps = np.diff(ticks)
    usual = int(np.median(gaps)) if len(gaps) else round(1 / float(base) / (video.frame_rate or 25))
    return base, ticks, np.append(gaps, max(1, usual))


class _Scaler:
    """Frames as upright 8-bit images of one size, in the colors that players assume of small videos."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._graphs: dict[tuple[object, ...], av.filter.Graph] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        matrix = display_matrix(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, matrix)
        if kind not in self._graphs:
            self._graphs[kind] = self._graph(frame, matrix)
        graph = self._graphs[kind]
        graph.push(frame)
        scaled = graph.pull()
        assert isinstance(scaled, av.VideoFrame)
        return scaled

    def _graph(self, frame: av.VideoFrame, matrix: tuple[int, int, int, int]) -> av.filter.Graph:
        right, down, left, up = matrix  # a, b, c, d of `display_matrix`
        width, height = self.size
        turns: list[tuple[str, str | None]] = []
        if right == 0:  # as `pixels.upright` does it with arrays
            width, height = height, width
            turns.append(("transpose", "0"))
            right, up = left, down
        turns += [("hflip", None)] * (right < 0) + [("vflip", None)] * (up < 0)
        scale = f"{width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int:out_range=tv:out_color_matrix=smpte170m"
        graph = av.filter.Graph()
        graph.threads = 1
        first = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        filters = [graph.add(name, text) for name, text in (("scale", scale), ("format", "yuv420p"), *turns)]
        graph.link_nodes(first, *filters, graph.add("buffersink")).configure()
        return graph


def shrink_images(source: str, target: Path, settings: Shrinking, beat: Beat) -> tuple[int, bool]:
    """Write small copies of the images that `source` means, each whole or not at all.

    Images that are small enough are copied as they are. All take the size of the first one, as reading would give it.

    Args:
        source: a folder of images, or a pattern of their names; not changed.
        target: the folder to write to; made where it is not there.
        settings: their size.
        beat: called after every image.

    Returns:
        Bytes written, and whether they are JPEGs by the name of `jpeg_name`, or copies by their own.

    Raises:
        VideoError: an image cannot be read, or two of them would get one name.
        OSError: the target cannot be written.
    """
    names = image_folder.image_names(source)
    folder = source if os.path.isdir(source) else image_folder.split(source)[0]
    whole = image_folder.read_image(source, names[0]).size
    size = settings.size(*whole)
    target.mkdir(parents=True, exist_ok=True)
    if size != whole and len({jpeg_name(name) for name in names}) < len(names):
        raise VideoError(source, "holds images that differ in their suffix alone, which as JPEGs would be one file")
    written = 0
    for name in names:
        path = target / (name if size == whole else jpeg_name(name))
        image = image_folder.read_image(source, name)  # also of those that are copied: a broken one is found here
        with replacing(path) as part:
            if size == whole:
                shutil.copyfile(os.path.join(folder, name), part)
            else:
                image.resize(size, Image.Resampling.BICUBIC).save(part, "JPEG", quality=_JPEG_QUALITY)
        written += path.stat().st_size
        beat()
    return written, size != whole


def jpeg_name(name: str) -> str:
    """Return the name of an image, or a pattern of names, as a JPEG."""
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in _JPEG else f"{stem}.jpg"
