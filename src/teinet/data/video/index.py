"""The index of a video file: number of frames, their times, and the frames at which decoding can start.

It is read from the packets once, not from headers: packets are counted and the first frame is decoded. Files whose
packets are ambiguous (packed B-frames of DivX, missing timestamps) or damaged are decoded once. The index is cached in
memory and, if possible, in SQLite.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from teinet.data.shards import status_of
from teinet.data.video import image_folder
from teinet.data.video.clocks import WRAPPED, Continued, RecordedClock
from teinet.data.video.container import begin, check_file, ends_too_early, open_video, stated_length
from teinet.data.video.frames import (
    LONGEST_GAP,
    NEAR,
    PACKED_CODECS,
    PLACEHOLDER_BYTES,
    FrameStream,
    frame_interval,
    shows_frame,
    stated_rate,
)
from teinet.data.video.pixels import is_transposed
from teinet.errors import VideoError
from teinet.utils.files import cache_folder

# Timestamps of packets and frames agree and keyframe marks are correct; others are decoded from the start. FFV1 is
# not among them: the slices that a damaged keyframe lacks are those of the frame before, and FFmpeg does not say so.
_SEEKABLE_FORMATS = {"mov", "mp4", "matroska", "webm"}
_SEEKABLE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores", "huffyuv"}
_SCHEMA = 6  # increase it whenever stored values change their meaning, to ignore older ones
_REMEMBERED = 8192  # files, in this process
_FEW_GAPS = 0.1  # of the distances between frames
_RESYNCED = {"matroska", "webm", "flv"}  # formats whose demuxers pass over damage without marking packets
_ZEROS = bytes(8)  # no packet begins so; if one does, the file is decoded once
_HOLE_BYTES = 512  # between two packets; less are headers
_SAME_RATE = 0.01  # relative difference up to which a stated frame rate is used in place of the measured one


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video in presentation order.

    Args:
        times: (n,) seconds from the start of the container; continued where its clock starts again.
        pts: (n,) in the stream's time base, by which frames are found; -1 if frames are counted instead.
        keys: indices of frames at which decoding can start with the same result as from the beginning.
        last_duration: seconds for which the last frame is shown; 0 if unknown.
        frame_rate: frames per second; None if unknown.
        width, height: of the first frame, upright.
        codec: FFmpeg's name of the codec.
        num_damaged: frames that were lost, or decoded in part; others may turn up in decoding.
        num_expected: the frames that the file would have without damage.
        cut: why the file ends too early; empty if it does not.
        is_decoded: true if all frames were decoded for this index.
    """

    times: np.ndarray
    pts: np.ndarray
    keys: np.ndarray
    last_duration: float
    frame_rate: float | None
    width: int
    height: int
    codec: str
    num_damaged: int = 0
    num_expected: int = 0
    cut: str = ""
    is_decoded: bool = False

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

    @property
    def damage(self) -> str:
        """The damage in words; empty if there is none."""
        if not self.num_damaged:
            return ""
        more = f" ({self.cut})" if self.cut else ""
        return f"{self.num_damaged} of {self.num_expected} frames cannot be decoded whole{more}"

    def refuse_damaged(self, path: str, share: float) -> None:
        """Raise VideoError if more than this share of the frames is damaged."""
        if self.num_damaged > share * self.num_expected:
            good = self.num_expected - self.num_damaged
            raise VideoError(path, self.cut or f"damaged: only {good} of its {self.num_expected} frames can be decoded")


_Key = tuple[str, int, int, int]  # absolute path, size, times of modification and of the last change in ns
_memory: dict[_Key, FrameIndex] = {}
_passing: set[str] = set()  # absolute paths of files whose indices are not written to the disk


def frame_index(path: str) -> FrameIndex:
    """Return a file's index, from the cache or built now; VideoError if no frame of it can be decoded."""
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


@contextmanager
def passing_file(path: str) -> Iterator[None]:
    """Cache the index of a file that is soon removed only inside the block, and only in memory."""
    path = os.path.abspath(path)
    _passing.add(path)
    try:
        yield
    finally:
        _passing.discard(path)
        with suppress(OSError):
            _memory.pop(_key(path), None)


def clear_memory() -> None:
    """Clear the indices cached in this process."""
    _memory.clear()


def folder_index(path: str, names: Sequence[str]) -> FrameIndex:
    """Return the index of frames in a folder, each by the name of its image; it has no times and no frame rate."""
    width, height = image_folder.read_image(path, names[0]).size
    no_times, codec = np.full(len(names), np.nan), os.path.splitext(names[0])[1][1:].lower()
    return FrameIndex(no_times, np.full(len(names), -1), np.zeros(0, np.int64), np.nan, None, width, height, codec)


def decoded_index(path: str, on_frame: Callable[[], object] = lambda: None) -> FrameIndex:
    """Return and cache the index by decoding all frames, each with its own time; `on_frame` is called after each."""
    return cached(path, _build(path, on_frame))


def cached(path: str, index: FrameIndex) -> FrameIndex:
    """Cache an index in place of an earlier one, and return it."""
    key = _key(path)
    _remember(key, index)
    _store(key, index)
    return index


@dataclass
class _Packets:
    """Properties of the packets that show a frame, in decoding order."""

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)  # timestamps of those that lack a part
    ends_corrupt: bool = False
    discarded: int = 0
    error: str | None = None


@dataclass(frozen=True)
class _Header:
    """The facts that a file states about its video."""

    begin: float  # seconds
    time_base: float  # seconds of a tick
    rate: float | None
    length: float | None  # seconds; None if it may be that of the sound
    num_frames: int
    codec: str
    formats: set[str]
    is_alone: bool  # without other streams

    @classmethod
    def read(cls, container: InputContainer, stream: av.VideoStream) -> _Header:
        is_alone = len(container.streams) == 1
        return cls(
            begin=begin(container),
            time_base=float(stream.time_base or 0),
            rate=stated_rate(stream),
            length=stated_length(container, stream) if is_alone or stream.duration else None,
            num_frames=stream.frames,
            codec=stream.codec_context.name,
            formats=set(container.format.name.split(",")),
            is_alone=is_alone,
        )


def _build(path: str, on_frame: Callable[[], object] | None = None) -> FrameIndex:
    with open_video(path) as (container, stream):
        packets, first = _read_packets(container, stream)
        cut = _cut_off(path, stream, packets)
        if first is None:
            raise VideoError(path, cut or "none of its frames can be decoded")
        header = _Header.read(container, stream)
        width, height = (first.height, first.width) if is_transposed(first) else (first.width, first.height)
    order, runs, exact = _presentation(packets)
    doubtful = header.codec in PACKED_CODECS and any(size <= PLACEHOLDER_BYTES for size in packets.sizes)
    by_decoding = bool(on_frame or not exact or doubtful or cut or packets.corrupt)
    if by_decoding:
        times, pts, last, in_part = _decode_all(path, on_frame or (lambda: None), find=exact)
    else:
        times, pts, last = _from_packets(packets, order, runs, header)
        in_part = 0
    apart = float(np.median(np.diff(times))) if len(times) > 1 else 1 / header.rate if header.rate else 0.0
    last = _last_duration(last, times, apart, header, bool(cut))
    count = len(times) if doubtful else max(len(packets.pts), len(times))
    num_expected = _num_expected(count, path, packets, header, times, last, apart, cut)
    trusted = not by_decoding and bool(header.formats & _SEEKABLE_FORMATS) and header.codec in _SEEKABLE_CODECS
    return FrameIndex(
        times,
        pts,
        _safe_keys(pts, packets) if trusted and not runs[-1] else np.zeros(0, np.int64),
        last,
        measured_rate(times, last, header.rate),
        width,
        height,
        header.codec,
        num_damaged=in_part + num_expected - len(times),
        num_expected=num_expected,
        cut=cut,
        is_decoded=by_decoding,
    )


def _from_packets(
    packets: _Packets, order: np.ndarray, runs: np.ndarray, header: _Header
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return times and timestamps of the packets in the order in which they are shown, and the last duration."""
    pts = np.array(packets.pts, np.int64)[order]
    durations = np.array(packets.durations)[order] * header.time_base
    times = pts * header.time_base - header.begin
    if runs[-1] or (np.diff(times) > WRAPPED).any():
        stamps, continued = zip(times.tolist(), durations.tolist(), (-runs).tolist()), Continued()
        times = np.array([continued(*stamp)[0] for stamp in stamps])
    return times, pts, float(durations[-1])


def _last_duration(last: float, times: np.ndarray, apart: float, header: _Header, is_cut: bool) -> float:
    """Return the seconds for which the last frame is shown: as measured, or else the usual distance of frames."""
    if "matroska" in header.formats:  # its blocks may state no duration; FFmpeg then guesses
        if header.length and header.is_alone and not is_cut and header.length > times[-1]:
            last = header.length - float(times[-1])
        elif len(times) > 1 and not 0.5 < last / apart < 2:
            last = 0.0
    return last or apart


def _num_expected(
    count: int, path: str, packets: _Packets, header: _Header, times: np.ndarray, last: float, apart: float, cut: str
) -> int:
    """Return the number of frames that a file would have without damage: `count`, and those without a packet."""
    damaged = packets.corrupt
    if not damaged and header.formats & _RESYNCED and _wide_gaps(times, apart).any():
        damaged = _after_holes(path)
    if not cut and not damaged:
        return count
    num_lost = _lost_in_gaps(times, apart, np.array(damaged) * header.time_base - header.begin, anywhere=bool(cut))
    if cut and header.length and apart:
        num_lost += max(0, round((header.length - float(times[-1]) - last) / apart))
    return max(count + bool(cut), len(times) + num_lost, header.num_frames - packets.discarded)


def _decode_all(path: str, on_frame: Callable[[], object], *, find: bool) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Decode all frames, and return times and timestamps in order, the last duration, and how many came in part.

    Timestamps are -1 where they are not unique, and without `find`.
    """
    stamps: list[tuple[float, int]] = []
    last = 0.0
    with open_video(path) as (container, stream):
        frames = FrameStream(container, stream, RecordedClock(begin(container), frame_interval(stream)))
        for raw, time, duration, _ in frames.decoded():
            stamps.append((time, -1 if raw.pts is None else raw.pts))
            last = duration
            on_frame()
        in_part = frames.num_corrupt
    if not stamps:
        raise VideoError(path, "none of its frames can be decoded")
    stamps.sort()  # damage may exchange frames
    times, pts = np.array([time for time, _ in stamps]), np.array([pts for _, pts in stamps], np.int64)
    if not find or (np.diff(pts) <= 0).any() or pts[0] == -1:
        pts = np.full(len(pts), -1)
    return times, pts, last, in_part


def _read_packets(container: InputContainer, stream: av.VideoStream) -> tuple[_Packets, av.VideoFrame | None]:
    """Read all packets, and decode the first frame only."""
    packets, first = _Packets(), None
    codec = stream.codec_context.name
    length_bytes = _length_bytes(codec, stream.codec_context.extradata)
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed, None)
        except FFmpegError as error:
            packets.error = str(error.strerror)
            packet = None
        if packet is not None and packet.size > 0:
            _note(packet, codec, length_bytes, packets)
        if first is None:
            try:
                frames = stream.decode(packet)
            except FFmpegError:
                frames = []
            first = frames[0] if frames else None
        if packet is None:
            return packets, first


def _note(packet: av.Packet, codec: str, length_bytes: int, packets: _Packets) -> None:
    data = bytes(packet)
    packets.ends_corrupt = packet.is_corrupt
    if packet.is_corrupt or data.startswith(_ZEROS) or not _is_whole(data, length_bytes):
        packets.corrupt.append(packet.pts or 0)
    if not shows_frame(packet, codec):
        packets.discarded += 1
        return
    packets.pts.append(packet.pts)
    packets.dts.append(packet.dts)
    packets.durations.append(packet.duration or 0)
    packets.sizes.append(packet.size)
    packets.keys.append(packet.is_keyframe and (codec != "h264" or _is_idr(data, length_bytes)))


def _cut_off(path: str, stream: av.VideoStream, packets: _Packets) -> str:
    """Return why a file ends before the frames that its container states; empty if it has all."""
    present = len(packets.pts) + packets.discarded
    promised = stream.frames
    if packets.ends_corrupt:  # the last packet is there in part only
        present -= 1
    if packets.ends_corrupt or (promised > present and (packets.error is not None or ends_too_early(path))):
        of = f" of {promised}" if promised > present else ""
        return f"cut off: frame {present + 1}{of} cannot be read"
    if not promised and ends_too_early(path):
        return f"cut off: it ends after {present} frames, before the end of its data"
    if packets.error is not None:
        return f"damaged: it cannot be read after {present} frames ({packets.error})"
    return ""


def _presentation(packets: _Packets) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the order in which packets are shown, the number of the clock's run for each, and if both are certain."""
    if None in packets.pts or not packets.pts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), False
    pts = np.array(packets.pts, np.int64)
    runs, last = np.zeros(len(pts), np.int64), None
    for i, dts in enumerate(packets.dts):
        if dts is not None:
            if last is not None and dts < last:
                runs[i:] += 1
            last = dts
    order = np.lexsort((pts, runs))
    shown, run = pts[order], runs[order]
    return order, run, bool(((np.diff(shown) > 0) | (np.diff(run) > 0)).all())


def _wide_gaps(times: np.ndarray, apart: float) -> np.ndarray:
    """Return where (n - 1,) frames may have been lost; gaps alone prove nothing, as an image may stand."""
    gaps = np.diff(times)
    return (gaps > 1.5 * apart) & (gaps < LONGEST_GAP)


def _lost_in_gaps(times: np.ndarray, apart: float, damaged: np.ndarray, *, anywhere: bool) -> int:
    """Return the number of frames missing in gaps next to the times of damage, or in all gaps if these are few."""
    wide = _wide_gaps(times, apart)
    if not anywhere or wide.sum() > _FEW_GAPS * len(wide):
        after = np.searchsorted(times, damaged)
        near = after[:, None] + np.arange(-NEAR - 1, NEAR + 1)
        wide &= np.isin(np.arange(len(wide)), near)
    return int((np.round(np.diff(times)[wide] / (apart or 1)) - 1).sum())


def _after_holes(path: str) -> list[int]:
    """Return the timestamps of video packets after bytes that belong to no packet: the demuxer has passed over them."""
    found, end, hole = [], None, False
    with open_video(path) as (container, stream):
        for packet in container.demux():
            if packet.pos is None or not packet.size:
                continue
            hole |= end is not None and packet.pos - end > _HOLE_BYTES
            end = max(end or 0, packet.pos + packet.size)
            if hole and packet.stream_index == stream.index:
                found.append(packet.pts or 0)
                hole = False
    return found


def measured_rate(times: np.ndarray, last: float, stated: float | None) -> float | None:
    """Return the frames per second by the frames' times, or as stated if that agrees up to rounding."""
    span, count = (float(times[-1] - times[0]), len(times) - 1) if len(times) > 1 else (last, 1)
    if not span > 0:
        return stated
    measured = count / span
    return stated if stated and abs(measured - stated) < _SAME_RATE * stated else measured


def _safe_keys(pts: np.ndarray, packets: _Packets) -> np.ndarray:
    """Return the keyframes (presentation indices) that split decoding order and presentation order alike."""
    order = np.array(packets.pts, np.int64)
    before = np.maximum.accumulate(np.append(np.iinfo(np.int64).min, order[:-1]))
    after = np.minimum.accumulate(np.append(order[1:], np.iinfo(np.int64).max)[::-1])[::-1]
    safe = np.array(packets.keys, bool) & (before < order) & (order < after)
    return np.searchsorted(pts, order[safe]).astype(np.int64)


def _length_bytes(codec: str, extradata: bytes | None) -> int:
    """Return the number of bytes of the lengths before the units of H.264 and HEVC packets; 0: these have none."""
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or not extradata or extradata[0] != 1 or len(extradata) <= place:
        return 0
    return (extradata[place] & 3) + 1


def _is_whole(data: bytes, length_bytes: int) -> bool:
    """Return true if the units of an H.264 or HEVC packet fill it; damage rarely leaves their lengths right."""
    position = 0
    while length_bytes and position < len(data):
        length = int.from_bytes(data[position : position + length_bytes], "big")
        position += length_bytes + length
        if not length or position > len(data):
            return False
    return True


def _is_idr(data: bytes, length_bytes: int) -> bool:
    """Return true if an H.264 keyframe is an IDR frame; recovery points of gradual refresh are marked as keys too."""
    position = 0
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
    return status_of(path)


def _remember(key: _Key, index: FrameIndex) -> None:
    if len(_memory) >= _REMEMBERED:
        _memory.clear()
    _memory[key] = index


def _stored(key: _Key) -> FrameIndex | None:
    try:
        if key[0] in _passing or not cache_file().exists():
            return None
        with _database() as database:
            query = "SELECT payload FROM frames WHERE path = ? AND size = ? AND mtime_ns = ? AND changed_ns = ?"
            row = database.execute(query, key).fetchone()
        if row is None:
            return None
        with np.load(io.BytesIO(row[0]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("times", "pts", "keys")}
            return FrameIndex(**json.loads(str(stored["facts"])), **arrays)
    except Exception:  # a damaged cache is ignored, as the index can be built again
        return None


def _store(key: _Key, index: FrameIndex) -> None:
    if key[0] in _passing:
        return
    buffer = io.BytesIO()
    arrays = {name: getattr(index, name) for name in ("times", "pts", "keys")}
    facts = {name: value for name, value in asdict(index).items() if name not in arrays}
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        with _database() as database, database:
            database.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?)", (*key, buffer.getvalue()))
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
            " (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, changed_ns INTEGER, payload BLOB) WITHOUT ROWID"
        )
        yield database
