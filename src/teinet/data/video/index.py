"""The index of a video file: number of frames, their times, and the frames at which decoding can start.

It is read from the packets once, not from headers: packets are counted and the first frame is decoded. Files whose
packets are ambiguous (packed B-frames of DivX, missing timestamps) are decoded once. The index is cached in memory and,
if possible, in SQLite.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from teinet.data.video import image_folder
from teinet.data.video.container import begin, check_file, ends_too_early, open_video
from teinet.data.video.frames import decode
from teinet.data.video.pixels import is_transposed
from teinet.errors import VideoError
from teinet.utils.files import cache_folder

# Timestamps of packets and frames agree and keyframe marks are correct; others are decoded from the start.
_SEEKABLE_FORMATS = {"mov", "mp4", "matroska", "webm"}
_SEEKABLE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores", "ffv1", "huffyuv"}
# A packet of these may have no frame, or two.
_PACKED_CODECS = {"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "h263", "flv1"}
_PLACEHOLDER_BYTES = 16
_SCHEMA = 3  # increase it whenever stored values change their meaning, to ignore older ones
_REMEMBERED = 8192  # files, in this process
_SAME_RATE = 0.01  # relative difference up to which a stated frame rate is used in place of the measured one


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video in presentation order.

    Args:
        times: (n,) seconds from the start of the container.
        pts: (n,) in the stream's time base; -1 if unknown.
        keys: indices of frames at which decoding can start with the same result as from the beginning.
        last_duration: seconds for which the last frame is shown; 0 if unknown.
        frame_rate: frames per second; None if unknown.
        width, height: of the first frame, upright.
        codec: FFmpeg's name of the codec.
    """

    times: np.ndarray
    pts: np.ndarray
    keys: np.ndarray
    last_duration: float
    frame_rate: float | None
    width: int
    height: int
    codec: str

    @property
    def num_frames(self) -> int:
        return len(self.times)

    @property
    def durations(self) -> np.ndarray:
        """(n,) seconds until the next frame."""
        return np.append(np.diff(self.times), self.last_duration)

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last; None if unknown."""
        duration = float(self.times[-1] - self.times[0]) + self.last_duration
        return duration if duration > 0 else None


_Key = tuple[str, int, int]  # absolute path, size, modification time in ns
_memory: dict[_Key, FrameIndex] = {}


def frame_index(path: str) -> FrameIndex:
    """Return a file's index, from the cache or built now; VideoError if it is not a complete, decodable video."""
    check_file(path)
    key = _key(path)
    index = _memory.get(key)
    if index is None:
        index = _stored(key)
        if index is None:
            index = _build(path)
            _store(key, index)
        _remember(key, index)
    return index


def clear_memory() -> None:
    """Clear the indices cached in this process."""
    _memory.clear()


def folder_index(path: str) -> FrameIndex:
    """Return the index of a folder of images, which has no times and no frame rate."""
    names = image_folder.image_names(path)
    width, height = image_folder.read_image(path, names[0]).size
    no_times, codec = np.full(len(names), np.nan), os.path.splitext(names[0])[1][1:].lower()
    return FrameIndex(no_times, np.full(len(names), -1), np.zeros(0, np.int64), np.nan, None, width, height, codec)


def corrected(path: str, index: FrameIndex, num_frames: int, keys: Sequence[int] | np.ndarray = ()) -> FrameIndex:
    """Return and cache an index with the number of frames found by decoding, and by default without keyframes."""
    times, pts = index.times[:num_frames], index.pts[:num_frames]
    missing = num_frames - len(times)
    if missing > 0:
        step = 1 / index.frame_rate if index.frame_rate else 0.0
        times = np.append(times, times[-1] + step * np.arange(1, missing + 1))
        pts = np.append(pts, np.full(missing, -1))
    index = replace(index, times=times, pts=pts, keys=np.asarray(keys, np.int64))
    key = _key(path)
    _remember(key, index)
    _store(key, index)
    return index


@dataclass
class _Packets:
    """Properties of the packets that show a frame, in decoding order."""

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    corrupt: bool = False
    discarded: int = 0
    error: str | None = None


def _build(path: str) -> FrameIndex:
    with open_video(path) as (container, stream):
        packets, first = _read_packets(container, stream)
        _refuse_cut_off(path, stream, packets)
        if first is None:
            raise VideoError(path, "none of its frames can be decoded")
        start = begin(container)
        time_base, rate = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 0)
        codec, formats = stream.codec_context.name, set(container.format.name.split(","))
        width, height = (first.height, first.width) if is_transposed(first) else (first.width, first.height)
    n = len(packets.pts)
    stamps, exact = _stamps(packets)
    doubtful = codec in _PACKED_CODECS and any(size <= _PLACEHOLDER_BYTES for size in packets.sizes)
    if not exact or doubtful:
        with open_video(path) as (container, stream):  # decode the whole file
            decoded = [-1 if frame.pts is None else frame.pts for frame in decode(container, stream)]
        n, exact = len(decoded), False
        if all(b > a for a, b in itertools.pairwise(decoded)) and decoded:
            stamps = np.array(decoded)
        stamps = None if stamps is None or len(stamps) < n else stamps[:n]
    if stamps is None:
        times, pts = np.arange(n) / (rate or 25.0), np.full(n, -1)
    else:
        times, pts = stamps * time_base - start, stamps
    trusted = exact and bool(formats & _SEEKABLE_FORMATS) and codec in _SEEKABLE_CODECS
    keys = _safe_keys(pts, packets) if trusted else np.zeros(0, np.int64)
    step = float(np.median(np.diff(times))) if n > 1 else 1 / rate if rate else 0.0
    return FrameIndex(times, pts, keys, step, _frame_rate(times, rate), width, height, codec)


def _read_packets(container: InputContainer, stream: av.VideoStream) -> tuple[_Packets, av.VideoFrame | None]:
    """Read all packets, and decode the first frame only."""
    packets, first = _Packets(), None
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed, None)
        except FFmpegError as error:
            packets.error = str(error.strerror)
            packet = None
        if packet is not None and packet.size > 0:
            _note(packet, stream, packets)
        if first is None:
            try:
                frames = stream.decode(packet)
            except FFmpegError:
                frames = []
            first = frames[0] if frames else None
        if packet is None:
            return packets, first


def _note(packet: av.Packet, stream: av.VideoStream, packets: _Packets) -> None:
    # Only the last packet counts: the decoder conceals errors within a transport stream.
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
    packets.keys.append(packet.is_keyframe and (codec != "h264" or _is_idr(packet, stream.codec_context.extradata)))


def _refuse_cut_off(path: str, stream: av.VideoStream, packets: _Packets) -> None:
    """Raise VideoError if the container states frames that the file does not have."""
    present = len(packets.pts) + packets.discarded
    promised = stream.frames
    if packets.corrupt:  # the last packet is there in part only
        present -= 1
    short = promised > present and (packets.corrupt or packets.error is not None or ends_too_early(path))
    if short or packets.corrupt:
        of = f" of {promised}" if promised > present else ""
        raise VideoError(path, f"cut off: frame {present + 1}{of} cannot be read")
    if not promised and ends_too_early(path):
        raise VideoError(path, f"cut off: it ends after {present} frames, before the end of its data")
    if packets.error is not None:
        raise VideoError(path, f"damaged: it cannot be read after {present} frames ({packets.error})")


def _stamps(packets: _Packets) -> tuple[np.ndarray | None, bool]:
    """Return the timestamps of the frames, ascending, and true if each frame has its own in its packet."""
    for stamps, exact in ((packets.pts, True), (packets.dts, False)):
        if stamps and None not in stamps and len(set(stamps)) == len(stamps):
            return np.sort(np.array(stamps, np.int64)), exact
    return None, False


def _frame_rate(times: np.ndarray, written: float) -> float | None:
    """Return the frames per second by the frames' times, or as stated if that agrees up to rounding."""
    span = float(times[-1] - times[0])
    if not span > 0:
        return written or None
    measured = (len(times) - 1) / span
    return written if abs(measured - written) < _SAME_RATE * written else measured


def _safe_keys(pts: np.ndarray, packets: _Packets) -> np.ndarray:
    """Return the keyframes (presentation indices) that split decoding order and presentation order alike."""
    order = np.array(packets.pts, np.int64)
    before = np.maximum.accumulate(np.append(np.iinfo(np.int64).min, order[:-1]))
    after = np.minimum.accumulate(np.append(order[1:], np.iinfo(np.int64).max)[::-1])[::-1]
    safe = np.array(packets.keys, bool) & (before < order) & (order < after)
    return np.searchsorted(pts, order[safe]).astype(np.int64)


def _is_idr(packet: av.Packet, extradata: bytes | None) -> bool:
    """Return true if an H.264 keyframe is an IDR frame; recovery points of gradual refresh are marked as keys too."""
    data = bytes(packet)
    position = 0
    length_bytes = (extradata[4] & 3) + 1 if extradata and extradata[0] == 1 and len(extradata) > 4 else 0
    while position < len(data):
        if length_bytes:
            end = position + length_bytes
            length = int.from_bytes(data[position:end], "big")
            kind = data[end] & 31 if end < len(data) else 0
            position = end + max(length, 1)
        else:
            start = data.find(b"\0\0\1", position)
            if start < 0 or start + 3 >= len(data):
                return False
            kind = data[start + 3] & 31
            position = start + 3
        if 1 <= kind <= 5:  # the first slice decides
            return kind == 5
    return False


def cache_file() -> Path:
    """Return the path of the SQLite cache."""
    return cache_folder() / f"frames-{_SCHEMA}.sqlite"


def _key(path: str) -> _Key:
    status = os.stat(path)
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


def _remember(key: _Key, index: FrameIndex) -> None:
    if len(_memory) >= _REMEMBERED:
        _memory.clear()
    _memory[key] = index


def _stored(key: _Key) -> FrameIndex | None:
    try:
        if not cache_file().exists():
            return None
        with _database() as database:
            query = "SELECT payload FROM frames WHERE path = ? AND size = ? AND mtime_ns = ?"
            row = database.execute(query, key).fetchone()
        if row is None:
            return None
        with np.load(io.BytesIO(row[0]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("times", "pts", "keys")}
            return FrameIndex(**json.loads(str(stored["facts"])), **arrays)
    except Exception:  # a damaged cache is ignored, as the index can be built again
        return None


def _store(key: _Key, index: FrameIndex) -> None:
    buffer = io.BytesIO()
    arrays = {name: getattr(index, name) for name in ("times", "pts", "keys")}
    facts = {name: value for name, value in asdict(index).items() if name not in arrays}
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        with _database() as database, database:
            database.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?)", (*key, buffer.getvalue()))
    except (OSError, sqlite3.Error, UnicodeError):
        pass


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    # Opened for each use, as a connection must not be shared by forked data workers.
    with closing(sqlite3.connect(cache_file(), timeout=2)) as database:
        # A crash may lose the newest indices, which are then built again: no need to wait for the disk.
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "CREATE TABLE IF NOT EXISTS frames"
            " (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, payload BLOB) WITHOUT ROWID"
        )
        yield database
