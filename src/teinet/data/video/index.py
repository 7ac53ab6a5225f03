"""What a video file holds, learned from its packets once: how many frames, shown when, and where decoding can start.

Nothing is believed that a header says: packets are counted, the first frame is decoded, and files whose packets do not
tell (DivX's packed B-frames, missing timestamps) are decoded once from end to end.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import av
import numpy as np

from teinet.data.video import index_cache
from teinet.data.video.container import check_file, ends_too_early, open_video
from teinet.data.video.keyframes import is_idr, safe_keys
from teinet.data.video.pixels import is_transposed, rotation
from teinet.errors import VideoError

# Where timestamps of packets and frames agree and keyframes are marked truly; others are decoded from the start.
_SEEKABLE_FORMATS = {"mov", "mp4", "matroska", "webm"}
_SEEKABLE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores", "ffv1", "huffyuv"}
# These may hold packets that give no frame, or one that gives two.
_PACKED_CODECS = {"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263", "flv1"}
_PLACEHOLDER_BYTES = 16


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video in the order in which they are shown.

    times: (n,) seconds from the container's start. pts: (n,) in the stream's time base, -1s where unknown.
    keys: indices of frames from which decoding can start and give exactly what decoding from the beginning gives.
    rotation: counterclockwise degrees. Width and height are after rotation.
    """

    num_frames: int
    times: np.ndarray
    pts: np.ndarray
    keys: np.ndarray
    frame_rate: float | None
    duration: float | None
    width: int
    height: int
    rotation: int
    codec: str

    @property
    def durations(self) -> np.ndarray:
        """(n,) seconds until the next frame; the last is shown for the rest of the duration."""
        last = max(0.0, (self.duration or 0.0) - float(self.times[-1] - self.times[0])) if self.num_frames else 0.0
        return np.append(np.diff(self.times), last)

    @property
    def end(self) -> float | None:
        """Seconds from the container's start until the last frame has been shown; None where nothing tells.

        That is the duration, except where the pictures begin later, behind sound that runs already.
        """
        return None if self.duration is None or not len(self.times) else float(self.times[0]) + self.duration


def frame_index(path: str) -> FrameIndex:
    """Look the index up, or build it and remember it; VideoError where the file is no whole, decodable video."""
    check_file(path)
    key = index_cache.key_of(path)
    index = index_cache.get_memory(key)
    if isinstance(index, FrameIndex):
        return index
    index = _unpack(index_cache.get_disk(key))
    if index is None:
        index = _build(path)
        index_cache.put_disk(key, _pack(index))
    index_cache.put_memory(key, index)
    return index


def corrected(path: str, index: FrameIndex, num_frames: int, keys: Sequence[int] = ()) -> FrameIndex:
    """Remember what decoding showed: the true number of frames, and which of the keyframes can be trusted (none)."""
    times, pts = index.times[:num_frames], index.pts[:num_frames]
    missing = num_frames - len(times)
    if missing > 0:
        step = 1 / index.frame_rate if index.frame_rate else 0.0
        last = times[-1] if len(times) else -step
        times = np.append(times, last + step * np.arange(1, missing + 1))
        pts = np.append(pts, np.full(missing, -1))
    index = replace(index, num_frames=num_frames, times=times, pts=pts, keys=np.asarray(keys, np.int64))
    key = index_cache.key_of(path)
    index_cache.put_memory(key, index)
    index_cache.put_disk(key, _pack(index))
    return index


@dataclass
class _Packets:
    """What is kept of each packet that shows a frame, in the order of decoding."""

    pts: list[int | None]
    dts: list[int | None]
    sizes: list[int]
    keys: list[bool]
    corrupt: bool = False
    discarded: int = 0
    error: str | None = None


def _build(path: str) -> FrameIndex:
    with open_video(path) as (container, stream):
        first: av.VideoFrame | None = None
        packets = _Packets([], [], [], [])
        demuxed = container.demux(stream)
        while True:
            try:
                packet = next(demuxed, None)
            except av.FFmpegError as error:
                packets.error = str(error.strerror)
                break
            if packet is None:
                break
            if packet.size > 0:
                _note(packet, stream, packets)
            if first is None:
                first = _first_frame(packet)
        if first is None and packets.error is not None:
            first = _first_frame(None, stream)
        _refuse_cut_off(path, stream, packets)
        if first is None:
            raise VideoError(path, "no frame of it can be decoded")
        start = (container.start_time or 0) / av.time_base
        time_base, rate = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 0)
        codec, formats = stream.codec_context.name, set(container.format.name.split(","))
        size = (first.height, first.width) if is_transposed(first) else (first.width, first.height)
        turn = rotation(first)
    n = len(packets.pts)
    stamps, exact = _stamps(packets)
    if not exact or _doubtful(codec, packets):
        decoded = decoded_pts(path)
        n = len(decoded)
        exact = False
        if all(b > a for a, b in itertools.pairwise(decoded)) and decoded:
            stamps = np.array(decoded)
        stamps = None if stamps is None or len(stamps) < n else stamps[:n]
    if stamps is None:
        times, pts = np.arange(n) / (rate or 25.0), np.full(n, -1)
    else:
        times, pts = stamps * time_base - start, stamps
    trusted = exact and bool(formats & _SEEKABLE_FORMATS) and codec in _SEEKABLE_CODECS
    keys = safe_keys(packets.pts, packets.keys) if trusted else np.zeros(0, np.int64)
    step = 1 / rate if rate else 0.0
    if n > 1:
        step = float(np.median(np.diff(times)))
    duration = float(times[-1] - times[0] + step) if n else None
    frame_rate = rate or (1 / step if step > 0 else None)
    return FrameIndex(n, times, pts, keys, frame_rate, duration or None, *size, turn, codec)


def _note(packet: av.Packet, stream: av.VideoStream, packets: _Packets) -> None:
    # Only the last one counts: errors within a transport stream are the decoder's to conceal.
    packets.corrupt = packet.is_corrupt
    if packet.is_discard:  # outside the edit list: decoded, not shown
        packets.discarded += 1
        return
    codec = stream.codec_context.name
    if codec == "vp8" and not bytes(packet)[0] & 0x10:  # a hidden reference frame
        packets.discarded += 1
        return
    packets.pts.append(packet.pts)
    packets.dts.append(packet.dts)
    packets.sizes.append(packet.size)
    packets.keys.append(packet.is_keyframe and (codec != "h264" or is_idr(packet, stream.codec_context.extradata)))


def _first_frame(packet: av.Packet | None, stream: av.VideoStream | None = None) -> av.VideoFrame | None:
    try:
        frames = packet.decode() if packet is not None else stream.decode(None)
    except av.FFmpegError:
        return None
    return frames[0] if frames else None


def _refuse_cut_off(path: str, stream: av.VideoStream, packets: _Packets) -> None:
    """VideoError where the container promises frames that the file does not hold."""
    present = len(packets.pts) + packets.discarded
    promised = stream.frames
    if packets.corrupt:  # the last packet is there in part only
        present -= 1
    short = promised > present and (packets.corrupt or packets.error is not None or ends_too_early(path))
    if short or packets.corrupt:
        of = f" of {promised}" if promised > present else ""
        raise VideoError(path, f"cut off: frame {present + 1}{of} cannot be read")
    if not promised or "gif" in stream.codec_context.name:
        if ends_too_early(path):
            raise VideoError(path, f"cut off: it ends after {present} frames, in the middle of its data")
    if packets.error is not None:
        raise VideoError(path, f"damaged: after {present} frames it cannot be read ({packets.error})")


def _stamps(packets: _Packets) -> tuple[np.ndarray | None, bool]:
    """Return the times at which frames are shown, ascending, and whether every frame has its own in its packet."""
    for stamps, exact in ((packets.pts, True), (packets.dts, False)):
        if stamps and None not in stamps and len(set(stamps)) == len(stamps):
            return np.sort(np.array(stamps, np.int64)), exact
    return None, False


def _doubtful(codec: str, packets: _Packets) -> bool:
    return codec in _PACKED_CODECS and any(size <= _PLACEHOLDER_BYTES for size in packets.sizes)


def decoded_pts(path: str) -> list[int]:
    """Decode a file from end to end and return each frame's timestamp, in the order in which frames come out."""
    with open_video(path) as (container, stream):
        return [frame.pts if frame.pts is not None else -1 for frame in decode_all(container, stream)]


def is_seekable(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Say whether this kind of file has a timestamp in every packet and marks its keyframes truly."""
    formats = set(container.format.name.split(","))
    return bool(formats & _SEEKABLE_FORMATS) and stream.codec_context.name in _SEEKABLE_CODECS - _PACKED_CODECS


def decode_all(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: Iterable[av.Packet] | None = None,
    failed: Callable[[], object] = lambda: None,
):
    """Yield every frame that can be decoded; what the decoder cannot make sense of is passed over, as ffmpeg does.

    `packets` are those that were read from the container already, and the rest; None takes all. `failed` is called for
    each packet that is passed over.
    """
    for packet in container.demux(stream) if packets is None else packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not isinstance(error, av.error.EOFError):
                failed()
            continue
        yield from frames


def _pack(index: FrameIndex) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: getattr(index, name) for name in ("times", "pts", "keys")}
    facts = {name: value for name, value in asdict(index).items() if name not in arrays}
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)
    return buffer.getvalue()


def _unpack(payload: bytes | None) -> FrameIndex | None:
    if payload is None:
        return None
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("times", "pts", "keys")}
            return FrameIndex(**json.loads(str(stored["facts"])), **arrays)
    except Exception:  # whatever a damaged cache holds, the file itself can be asked again
        return None
