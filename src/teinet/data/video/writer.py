"""Writing frames as a small .mp4 that can be turned round without loss.

Every picture is coded by itself (h264, intra only, one constant quantiser, one thread), so a packet decodes to the same
picture wherever it stands in the file. `write_reversed` copies the packets of a file in the opposite order.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from teinet.errors import VideoError
from teinet.utils.files import replacing

_SMPTE170M, _LIMITED = 6, 1  # codes of H.273: what players assume for small pictures, said aloud in the file


def write_video(path: str | os.PathLike, frames: np.ndarray, frame_rate: int, *, quantiser: int = 26) -> Path:
    """Write `frames` to the .mp4 file `path`, whole or not at all.

    Args:
        path: the file; its folder exists.
        frames: (T, H, W, 3) uint8 RGB, T at least 1, H and W even.
        frame_rate: frames a second.
        quantiser: 0 (best) to 51.

    Returns:
        The path.

    Raises:
        ValueError: frames of another shape or type, or of an odd height or width.
        OSError: the file cannot be written.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise ValueError(f"expected frames (T, H, W, 3) uint8 with T > 0, got {frames.shape} {frames.dtype}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"h264 with halved colour needs an even height and width, got {frames.shape[1:3]}")
    options = {"preset": "veryfast", "qp": str(quantiser), "g": "1", "bf": "0", "threads": "1", "aq-mode": "0"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=frame_rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = _SMPTE170M
        context.color_range = _LIMITED
        for pixels in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            out.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)))
        out.mux(stream.encode())
    return _write_whole(path, buffer.getvalue())


def write_reversed(source: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the intra-only .mp4 `source` backwards to `path`: the same packets in the opposite order.

    Args:
        source: a file that `write_video` wrote.
        path: the new file; its folder exists.

    Returns:
        The path.

    Raises:
        VideoError: `source` holds a picture that cannot be decoded alone.
        OSError: a file cannot be read or written.
    """
    buffer = io.BytesIO()
    with av.open(os.fspath(source)) as src, av.open(buffer, "w", format="mp4") as out:
        old = src.streams.video[0]
        new = out.add_stream_from_template(old)
        packets = [packet for packet in src.demux(old) if packet.size]
        if not packets or not all(packet.is_keyframe for packet in packets):
            raise VideoError(source, "holds pictures that depend on others, so its packets cannot be reordered")
        times = [(packet.pts, packet.dts, packet.duration) for packet in packets]
        for packet, (pts, dts, duration) in zip(reversed(packets), times):
            packet.pts, packet.dts, packet.duration, packet.stream = pts, dts, duration, new
            out.mux(packet)
    return _write_whole(path, buffer.getvalue())


def _write_whole(path: str | os.PathLike, content: bytes) -> Path:
    with replacing(path) as part:
        part.write_bytes(content)
    return Path(path)
