"""One video made smaller: h264 in .mp4, every frame at its time, upright, in its colours, without sound."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from teinet.data.tools.shrink.scaler import Scaler
from teinet.data.tools.shrink.settings import Shrinking
from teinet.data.video.pixels import is_transposed
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError
from teinet.utils.files import replacing
from teinet.utils.worker_pool import Beat

# Codes of H.273. All copies are in what players assume of small pictures, and say so: also readers that heed nothing
# that a file says of its colours get them right.
_SMPTE170M, _LIMITED = 6, 1
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT}


def shrink_video(source: str, target: Path, settings: Shrinking, beat: Beat) -> float:
    """Write a small copy of a video, whole or not at all.

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
            with replacing(target) as part:
                count = _write(video, part, settings, beat)
                if count != len(video):
                    raise _OtherCount
            return float(video.times[0])
        except _OtherCount:
            video.correct_count(count)
    raise VideoError(source, "gives another number of frames each time that it is decoded")


class _OtherCount(Exception):
    """Decoding gave another number of frames than the packets promised."""


def _write(video: VideoReader, part: Path, settings: Shrinking, beat: Beat) -> int:
    """Decode, scale and encode all frames; returns their number."""
    source = video.path
    size = settings.size(*video.size, even=True)
    count = 0
    with video.open() as stream, _output(source, part) as out:
        clock, ticks, lengths = _clock(video, stream.time_base)
        shape = stream.pixel_shape  # the library ignores it, players do not
        scale, copy = Scaler(size), None
        for frame in (frame.raw for frame in stream):
            if count < len(ticks):
                small = scale(frame)
                with _writing(source, part):
                    if copy is None:
                        turned = shape and (1 / shape if is_transposed(frame) else shape)
                        copy = _Copy(out, _encoder(out, small, video.frame_rate, clock, settings, turned), lengths)
                    if count == len(ticks) - 1 and frame.duration and frame.time_base:  # no next frame tells how long
                        lengths[count] = max(1, round(frame.duration * frame.time_base / clock))
                    small.pts, small.time_base = int(ticks[count]), clock
                    small.pict_type = 0  # not as it was in the source
                    copy.write(small)
            count += 1
            beat()
        if copy is not None:
            with _writing(source, part):
                copy.write(None)
    return count


class _Copy:
    """Encodes frames in their order, each for its length: without B-frames, packets come out as frames go in."""

    def __init__(self, out: OutputContainer, encoder: av.VideoStream, lengths: np.ndarray):
        self.out, self.encoder, self.lengths = out, encoder, iter(lengths)

    def write(self, frame: av.VideoFrame | None) -> None:
        for packet in self.encoder.encode(frame):
            packet.duration = int(next(self.lengths))
            self.out.mux(packet)


def _encoder(
    out: OutputContainer,
    frame: av.VideoFrame,
    frame_rate: float | None,
    clock: Fraction,
    settings: Shrinking,
    shape: Fraction | None,
) -> av.VideoStream:
    """The copy's stream: sizes and colours of its first frame, pixels of `shape`."""
    options = {
        "crf": str(settings.quality),
        "preset": "veryfast",
        "g": str(settings.keyframes),
        "keyint_min": "1",
        "sc_threshold": "0",  # keyframes where they are expected, no others
        "bf": "0",  # frames are decoded in the order in which they are shown: any reader finds them
        "threads": "1",  # processes share the cores
    }
    rate = Fraction(frame_rate or 25).limit_denominator(1001)
    stream = out.add_stream("libx264", rate=rate, options=options)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    context.time_base = stream.time_base = clock
    context.thread_count = 1
    context.colorspace, context.color_range = _SMPTE170M, _LIMITED
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    if shape:
        context.sample_aspect_ratio = shape
    return stream


def _clock(video: VideoReader, time_base: Fraction | None) -> tuple[Fraction, np.ndarray, np.ndarray]:
    """A time base in which every frame's time is a whole number, and these numbers, from 0, with each one's length."""
    times = video.times - video.times[0]
    bases = [time_base] if time_base else []
    if video.frame_rate:
        bases.append(1 / Fraction(video.frame_rate).limit_denominator(1001))
    for base in (*bases, Fraction(1, 1_000_000)):
        ticks = np.round(times / float(base)).astype(np.int64)
        if np.abs(ticks * float(base) - times).max() < 1e-6:
            break
    gaps = np.diff(ticks)
    usual = int(np.median(gaps)) if len(gaps) else round(1 / float(base) / (video.frame_rate or 25))
    return base, ticks, np.append(gaps, max(1, usual))


@contextmanager
def _output(source: str, part: Path) -> Iterator[OutputContainer]:
    with _writing(source, part):
        out = av.open(f"file:{part.absolute()}", "w", format="mp4", options={"movflags": "+faststart"})
    try:
        yield out
        with _writing(source, part):
            out.close()
    finally:
        with _writing(source, part):
            out.close()


@contextmanager
def _writing(source: str, part: Path) -> Iterator[None]:
    """FFmpeg's errors in writing: the disk's end the work, others are this video's own."""
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in _DISK:
            raise OSError(error.errno, error.strerror, str(part)) from None
        raise VideoError(source, f"cannot be written as h264 ({error.strerror})") from None
