"""Writing frames to .mp4 files: `VideoWriter`, and small files that can be reversed losslessly.

`write_video` encodes keyframes only (h264, constant quantizer), so that `write_reversed` can reorder its packets.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Colorspace

from teinet.data.video.container import open_video, silence
from teinet.errors import VideoError
from teinet.utils.files import replacing

# Codes of H.273 that players assume for small videos, so that readers that ignore the file's codes are right too.
_SMPTE170M, _LIMITED = 6, 1
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT}


class VideoWriter:
    """Write frames to an .mp4 file as h264; the file appears when the block succeeds, and not otherwise.

        with VideoWriter("clip.mp4", frame_rate=25) as writer:
            for image in images:
                writer.write(image)

    The same frames give the same bytes: it uses one thread, and no B-frames, so that any reader finds each frame.

    Args:
        path: the file, in an existing folder.
        frame_rate: frames per second.
        quality: x264's constant rate factor, 0 (lossless) to 51; None leaves it to `options`.
        keyframe_interval: frames from one keyframe to the next; None is one second.
        time_base: seconds of a tick, the unit of times in `write`; None is the interval of frames.
        options: of x264, by FFmpeg's names.

    Raises:
        OSError: the file cannot be written, or the disk is full.
        VideoError: the frames cannot be encoded as h264.
        ValueError: no frame was written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frame_rate: float | Fraction,
        *,
        quality: int | None = 23,
        keyframe_interval: int | None = None,
        time_base: Fraction | None = None,
        options: Mapping[str, str] | None = None,
    ):
        self.path, self.num_frames = Path(path), 0
        self._rate = Fraction(frame_rate).limit_denominator(1001)
        self._time_base = time_base or 1 / self._rate
        interval = max(1, round(self._rate)) if keyframe_interval is None else keyframe_interval
        # x264's macroblock tree gives other bytes now and then, also on one thread
        self._options = {"preset": "veryfast", "g": str(interval), "bf": "0", "threads": "1", "mbtree": "0"}
        if quality is not None:
            self._options["crf"] = str(quality)
        self._options.update(options or {})
        self._durations: deque[int] = deque()
        self._stream: av.VideoStream | None = None
        self._out: Any = None

    def __enter__(self) -> VideoWriter:
        self._session = self._opened()
        self._session.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._session.__exit__(*error)

    def write(
        self, image: np.ndarray | av.VideoFrame, *, ticks: int | None = None, duration: int | None = None
    ) -> None:
        """Write the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, H and W even and equal to those of the first image; or a yuv420p frame of this
                size, in SMPTE 170M and limited range.
            ticks: time at which it is shown; None counts frames.
            duration: ticks for which it is shown; given for all frames or for none.

        Raises:
            ValueError: an odd height or width.
        """
        frame = image
        if not isinstance(frame, av.VideoFrame):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
        if self._stream is None:
            self._stream = self._add_stream(frame.width, frame.height)
        frame.pts, frame.time_base = self.num_frames if ticks is None else ticks, self._time_base
        frame.pict_type = 0  # chosen by the encoder, not copied from a source
        if duration is not None:
            self._durations.append(duration)
        self._encode(frame)
        self.num_frames += 1

    def _add_stream(self, width: int, height: int) -> av.VideoStream:
        if height % 2 or width % 2:
            raise ValueError(f"height and width are {(height, width)}; h264 needs an even height and width")
        stream = self._out.add_stream("libx264", rate=self._rate, options=self._options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = self._time_base
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = _SMPTE170M
        context.color_range = _LIMITED
        return stream

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._stream is not None
        with _translating_errors(self.path):
            for packet in self._stream.encode(frame):
                if self._durations:
                    packet.duration = self._durations.popleft()
                self._out.mux(packet)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        silence()
        with replacing(self.path) as part:
            with _translating_errors(self.path):
                self._out = av.open(f"file:{part.absolute()}", "w", format="mp4")
            try:
                yield
                if self._stream is None:
                    raise ValueError(f"no frame was written to {self.path}")
                self._encode(None)
            finally:
                with _translating_errors(self.path):
                    self._out.close()


@contextmanager
def _translating_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise FFmpeg's errors inside the block as OSError (disk) or VideoError."""
    try:
        yield
    except FFmpegError as error:
        if error.errno in _DISK:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise VideoError(path, f"cannot be written as h264 ({error.strerror})") from None


def write_video(path: str | os.PathLike[str], frames: np.ndarray, frame_rate: int, *, quantizer: int = 26) -> Path:
    """Write `frames` to the .mp4 file `path`, atomically, and return the path.

    Args:
        path: in an existing folder.
        frames: (T, H, W, 3) uint8 RGB, T at least 1, H and W even.
        quantizer: 0 (best) to 51.

    Raises:
        ValueError: frames with another shape or type, or an odd height or width.
        OSError: the file cannot be written.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise ValueError(f"expected frames (T, H, W, 3) uint8 with T > 0, got {frames.shape} {frames.dtype}")
    constant = {"qp": str(quantizer), "aq-mode": "0"}
    with VideoWriter(path, frame_rate, quality=None, keyframe_interval=1, options=constant) as writer:
        for image in frames:
            writer.write(image)
    return writer.path


def write_reversed(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Write the packets of the intra-only .mp4 `source` to `path` in reverse order, and return the path.

    Raises:
        VideoError: `source` cannot be read, or has a frame that is not a keyframe.
        OSError: the file cannot be written, or the disk is full.
    """
    with (
        open_video(os.fspath(source)) as (src, old),
        replacing(path) as part,
        _translating_errors(path),
        av.open(f"file:{part.absolute()}", "w", format="mp4") as out,
    ):
        new = out.add_stream_from_template(old)
        packets = [packet for packet in src.demux(old) if packet.size]
        if not packets or not all(packet.is_keyframe for packet in packets):
            raise VideoError(source, "has frames that depend on others, so its packets cannot be reordered")
        times = [(packet.pts, packet.dts, packet.duration) for packet in packets]
        for packet, (pts, dts, duration) in zip(reversed(packets), times):
            packet.pts, packet.dts, packet.duration, packet.stream = pts, dts, duration, new
            out.mux(packet)
    return Path(path)
