"""Frames in presentation order: one pass over an open source, in constant memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from time import monotonic
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import ExitError, FFmpegError

from teinet.data.video.clocks import Continued, LiveClock, RecordedClock
from teinet.data.video.container import stated_length
from teinet.data.video.pixels import Converter, is_transposed

_WHOLE_BYTES = 2**24  # of the images that are in memory as they were decoded; a single one may have more
_RATE = 25.0  # frames per second, if the source does not state it
_FASTEST = 240.0  # frames per second: a stated rate above it of one frame a tick is the clock's, not the frames'
# A packet of these may have no frame, or two.
PACKED_CODECS = frozenset("mpeg4 msmpeg4v1 msmpeg4v2 msmpeg4v3 h263 flv1".split())
PLACEHOLDER_BYTES = 16
LONGEST_GAP = 10.0  # seconds in which frames may be missing
NEAR = 2  # frames between a packet that lacks a part and those that are missing next to it
_MOST_INCOMPLETE = 64  # packets that decoder threads may hold

Transform = Callable[[np.ndarray], np.ndarray]


class Frames(NamedTuple):
    """Frames of a clip.

    Args:
        images: (K, H, W, 3) uint8 RGB, upright, all with the size of the video's first frame; or (K, ...), what a
            transform made of them.
        indices: (K,) frame numbers in the whole video, from 0.
        times: (K,) seconds from its start; NaN in a folder of images.
        num_frames: number of frames in the video, or in the part that was asked for.
    """

    images: np.ndarray
    indices: np.ndarray
    times: np.ndarray
    num_frames: int


class ImageStack:
    """Collects K images of one size, or what a transform makes of them: it then holds few whole ones at a time.

    Args:
        count: K, at least 1.
        height, width: of an image, pixels.
        transform: maps images (n, H, W, C) uint8 to (n, ...), for any n; None keeps them whole.
        channels: C, 3 for RGB.

    Attributes:
        images: (K, H, W, C) uint8, or (K, ...) of the transform, once all K are added.
    """

    images: np.ndarray

    def __init__(self, count: int, height: int, width: int, transform: Transform | None = None, *, channels: int = 3):
        at_once = count if transform is None else min(count, max(1, _WHOLE_BYTES // (channels * height * width)))
        self._whole = np.empty((at_once, height, width, channels), np.uint8)
        self._count, self._transform = count, transform
        self._added = self._kept = 0
        if transform is None:
            self.images = self._whole

    def add(self, write: Callable[[np.ndarray], object]) -> None:
        """Let `write` fill the next image (H, W, C) uint8 in place."""
        write(self._whole[self._added - self._kept])
        self._added += 1
        waiting = self._added - self._kept
        if self._transform is None or (waiting < len(self._whole) and self._added < self._count):
            return
        part = self._transform(self._whole[:waiting])
        if self._kept == 0:
            self.images = np.empty((self._count, *part.shape[1:]), part.dtype)
        self.images[self._kept : self._added] = part
        self._kept = self._added


class Frame:
    """One frame of a pass.

    Args:
        index: its number in the pass, from 0.
        time: seconds from the start of a recording, or since a live reader was created; NaN in a folder of images.
        duration: seconds for which it is shown, as the source states; NaN in a folder of images.
        is_discontinuity: true if it does not continue the frames before: the first frame of a pass, a time that is not
            later than the previous one, another size, a jump of a live source's timestamps. Gaps are not marked.
        size: (width, height), upright.
        raw: the decoded frame; None for an image file.
    """

    def __init__(
        self,
        index: int,
        time: float,
        duration: float,
        is_discontinuity: bool,
        size: tuple[int, int],
        load: Callable[[], np.ndarray],
        raw: av.VideoFrame | None = None,
    ):
        self.index, self.time, self.duration, self.is_discontinuity = index, time, duration, is_discontinuity
        self.size, self.raw = size, raw
        self._load = load

    @cached_property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright; converted on first access, which must be in the thread that iterates."""
        return self._load()

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame(index={self.index}, time={self.time:.3f}, {width}x{height})"


class FrameStream:
    """One pass over an open source: an iterator of its frames; broken packets are counted and skipped.

    Args:
        container, stream, clock: the open source, and the clock that converts its timestamps to seconds.
        has_times: true if timestamps are valid; otherwise frames are timed by the stream's rate, or as they arrive.
        patience: seconds without a frame, while packets arrive, after which TimeoutError is raised.

    Attributes:
        is_recorded: true if the clock is that of a recording.
        num_frames: frames so far.
        num_corrupt: frames so far that were decoded in part.
        is_ordered: true if each timestamp so far was later than the previous one.
        last_time: time of the last frame; None before the first.
        frame_interval: seconds between two frames, as the stream states.
        stated_length: stated seconds of a recording; None if not stated.
        length_includes_sound: true if that may be the length of its sound.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: av.VideoStream,
        clock: RecordedClock | LiveClock,
        *,
        has_times: bool = True,
        patience: float = math.inf,
    ):
        self.is_recorded = isinstance(clock, RecordedClock)
        self.num_frames = self.num_corrupt = 0
        self.is_ordered, self.last_time = True, clock.last_time
        self.frame_interval = frame_interval(stream)
        self.stated_length = stated_length(container, stream) if self.is_recorded else None
        self.length_includes_sound = not stream.duration
        self._container, self._stream, self._clock = container, stream, clock
        self._base = float(stream.time_base or 0) if has_times else 0.0
        # An AVI file has times of decoding only: with packed B-frames they are in order, and those of frames are not.
        self._is_packed = container.format.name == "avi" and stream.codec_context.name in PACKED_CODECS
        self._num_packets = 0  # that show a frame
        self._counts_lost = False
        self._num_refused = self._num_missing = 0  # packets that give an error, and frames that never came
        self._incomplete: deque[float] = deque(maxlen=_MOST_INCOMPLETE)  # seconds of packets that lack a part
        self._last_stamp: float | None = None
        self._patience, self._last_frame = patience, monotonic()

    def count_lost(self) -> None:
        """Count the frames that packets promise; called before the first frame, for `num_lost` after the last."""
        self._counts_lost = self._stream.codec_context.name not in PACKED_CODECS

    @property
    def is_alone(self) -> bool:
        """True if the source has no other streams, such as sound."""
        return len(self._container.streams) == 1

    @property
    def num_lost(self) -> int:
        """Number of frames whose packets gave none or never came; valid after the last frame, if they were counted."""
        return max(self._num_missing, self._num_packets - self.num_frames)

    @property
    def num_broken(self) -> int:
        """Number of frames so far that are missing, and of packets and frames that were not decoded completely."""
        return self._num_missing + self.num_corrupt + self._num_refused

    @property
    def num_damaged(self) -> int:
        """Number of frames that were lost or decoded in part; valid like `num_lost`."""
        return max(self.num_lost + self.num_corrupt, self.num_broken)

    def __iter__(self) -> Iterator[Frame]:
        convert, size = None, None
        for raw, time, duration, jumped in self.decoded():
            before, size = size, (raw.height, raw.width) if is_transposed(raw) else (raw.width, raw.height)
            if convert is None or before != size:
                convert = Converter(size[1], size[0])
            breaks = before != size or jumped
            yield Frame(self.num_frames - 1, time, duration, breaks, size, partial(_converted, convert, raw), raw)

    def decoded(self) -> Iterator[tuple[av.VideoFrame, float, float, bool]]:
        """Yield each decoded frame with its time, its duration, and true if it does not come later than the last."""
        base, continued = self._base, Continued() if self.is_recorded else None
        for index, raw in enumerate(decode(self._container, self._stream, self._count_refused, self._note)):
            self.num_frames = index + 1
            self.num_corrupt += raw.is_corrupt
            duration = raw.duration * base or self.frame_interval
            ticks = raw.dts if self._is_packed and index else raw.pts
            stamp = ticks * base if ticks is not None and base else None
            self._num_missing += self._missing_before(stamp, duration)
            time, jumped = self._clock.time_of(stamp)
            restarted = False
            if continued is not None:
                time, restarted = continued(time, duration, raw.dts)
            later = (self.last_time is None or time > self.last_time) and not restarted
            self.is_ordered, self.last_time = self.is_ordered and later, time
            yield raw, time, duration, jumped or not later
            self._last_frame = monotonic()

    def _note(self, packet: av.Packet) -> None:
        if packet.is_corrupt and packet.pts is not None:
            self._incomplete.append(packet.pts * self._base)
        if self._counts_lost and packet.size:
            self._num_packets += shows_frame(packet, self._stream.codec_context.name)
        if monotonic() - self._last_frame > self._patience:
            raise TimeoutError(f"no frame that can be decoded for {self._patience:g} s")

    def _missing_before(self, stamp: float | None, duration: float) -> int:
        """Return how many frames are missing before one near an incomplete packet; a gap alone proves nothing."""
        last, self._last_stamp = self._last_stamp, stamp
        if stamp is None or last is None:
            return 0
        near = any(last - NEAR * duration <= second <= stamp + NEAR * duration for second in self._incomplete)
        gap = stamp - last
        return round(gap / duration) - 1 if near and 1.5 * duration < gap < LONGEST_GAP else 0

    def _count_refused(self) -> None:
        self._num_refused += 1


def _converted(convert: Converter, raw: av.VideoFrame) -> np.ndarray:
    return convert(raw, np.empty((convert.height, convert.width, 3), np.uint8))


def decode(
    container: InputContainer,
    stream: av.VideoStream,
    broken: Callable[[], object] = lambda: None,
    on_packet: Callable[[av.Packet], object] | None = None,
) -> Iterator[av.VideoFrame]:
    """Yield the frames that can be decoded from the current position.

    Args:
        broken: called for each packet that cannot be decoded.
        on_packet: called with each packet before it is decoded.
    """
    for packet in container.demux(stream):
        if on_packet is not None:
            on_packet(packet)
        try:
            frames = packet.decode()
        except FFmpegError as error:
            if isinstance(error, ExitError | TimeoutError):
                raise
            if not isinstance(error, EndOfFile):
                broken()
            continue
        yield from frames


def shows_frame(packet: av.Packet, codec: str) -> bool:
    """Return true if a packet with data shows a frame: not outside an edit list, and not a hidden reference (VP8)."""
    return not (packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10))


def stated_rate(stream: av.VideoStream) -> float | None:
    """Return the frames per second that the stream states, or that FFmpeg guesses from its frames; None if unknown."""
    # Raw streams: FFmpeg's average is its own default, its guess what the frames say.
    raw = stream.start_time is None and stream.duration is None
    rates = (stream.guessed_rate, stream.average_rate) if raw else (stream.average_rate, stream.guessed_rate)
    tick = stream.time_base or 0
    return next((float(rate) for rate in rates if rate and not (rate > _FASTEST and rate * tick == 1)), None)


def frame_interval(stream: av.VideoStream) -> float:
    """Return the seconds between two frames, as the stream states."""
    return 1 / (stated_rate(stream) or _RATE)
