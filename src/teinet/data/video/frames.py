"""Frames in the order in which they are shown: one pass over an open source, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import ExitError, FFmpegError

from teinet.data.video.container import stated_length
from teinet.data.video.pixels import Converter, is_transposed

TICK = 1e-3  # seconds by which a live source's time grows at least
_RATE = 25.0  # frames a second, where the source does not say


class Frames(NamedTuple):
    """Frames of a clip.

    Args:
        images: (K, H, W, 3) uint8 RGB, upright, all of the first frame's size.
        indices: (K,) in the whole video.
        times: (K,) seconds from its start; NaN in a folder of images.
        num_frames: in the video, or in the span that was asked for.
    """

    images: np.ndarray
    indices: np.ndarray
    times: np.ndarray
    num_frames: int


class Frame:
    """One frame of a pass.

    Args:
        index: its number in the pass, from 0.
        time: seconds from the start of a recording, or since a live reader was made; NaN in a folder of images.
        duration: seconds for which it is shown, as the source says; NaN in a folder of images.
        is_discontinuity: whether it does not continue what was seen before: the first frame of a pass, a time that is
            not later than the one before, another size, a live source's timestamps that jump. Gaps are not marked.
        size: (width, height), upright.
        raw: the frame as it was decoded; None for an image file.
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
        """(H, W, 3) uint8 RGB, upright; converted when it is first asked for, in the thread that iterates."""
        return self._load()

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame(index={self.index}, time={self.time:.3f}, {width}x{height})"


class FrameStream:
    """One pass over an open source: iterate it for its frames; broken packets are counted and skipped.

    Args:
        container, stream, clock: what was opened, and what makes seconds of its timestamps.
        has_times: whether timestamps mean something; else frames come at the stream's rate, or when they come.

    Attributes:
        is_recorded: whether the clock is the recording's own.
        num_broken: packets and frames so far that could not be decoded whole.
        is_ordered: whether each time so far was later than the one before.
        last_time: of the last frame; None before the first.
        frame_interval: seconds between two frames, as the stream says.
        stated_length: seconds that a recording says it lasts; None where it does not.
        length_includes_sound: whether that may be the length of its sound.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: av.VideoStream,
        clock: RecordedClock | LiveClock,
        *,
        has_times: bool = True,
    ):
        self.is_recorded = isinstance(clock, RecordedClock)
        self.num_broken, self.is_ordered, self.last_time = 0, True, clock.last_time
        self.frame_interval = frame_interval(stream)
        self.stated_length = stated_length(container, stream) if self.is_recorded else None
        self.length_includes_sound = not stream.duration
        self._container, self._stream, self._clock = container, stream, clock
        self._base = float(stream.time_base or 0) if has_times else 0.0

    def __iter__(self) -> Iterator[Frame]:
        convert, size, base = None, None, self._base
        for index, raw in enumerate(decode(self._container, self._stream, self._count_broken)):
            self.num_broken += raw.is_corrupt
            time, jumped = self._clock.time_of(raw.pts * base if raw.pts is not None and base else None)
            later = self.last_time is None or time > self.last_time
            self.is_ordered, self.last_time = self.is_ordered and later, time
            before, size = size, (raw.height, raw.width) if is_transposed(raw) else (raw.width, raw.height)
            if convert is None or before != size:
                convert = Converter(size[1], size[0])
            breaks = before != size or jumped or not later
            duration = raw.duration * base or self.frame_interval
            yield Frame(index, time, duration, breaks, size, partial(_converted, convert, raw), raw)

    def _count_broken(self) -> None:
        self.num_broken += 1


def _converted(convert: Converter, raw: av.VideoFrame) -> np.ndarray:
    return convert(raw, np.empty((convert.height, convert.width, 3), np.uint8))


def decode(
    container: InputContainer, stream: av.VideoStream, broken: Callable[[], object] = lambda: None
) -> Iterator[av.VideoFrame]:
    """Yield every frame that can be decoded from here on; skips other packets, with a call of `broken` for each."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            if isinstance(error, ExitError | TimeoutError):
                raise
            if not isinstance(error, EndOfFile):
                broken()
            continue
        yield from frames


def frame_interval(stream: av.VideoStream) -> float:
    """Seconds between two frames, as the stream says."""
    return 1 / float(stream.average_rate or stream.guessed_rate or _RATE)


class RecordedClock:
    """A recording's seconds, from its beginning on, as they are written; also where they jump.

    Args:
        begin: the timestamp of the beginning, seconds.
        interval: seconds from a frame to one without a timestamp.
    """

    last_time: float | None = None

    def __init__(self, begin: float, interval: float):
        self._begin, self._interval = begin, interval

    def time_of(self, stamp: float | None) -> tuple[float, bool]:
        """The second of the next frame by its timestamp (seconds, or None), and False: this clock is never set."""
        if stamp is not None:
            self.last_time = stamp - self._begin
        else:
            self.last_time = 0.0 if self.last_time is None else self.last_time + self._interval
        return self.last_time, False


class LiveClock:
    """A live source's seconds by our clock: they run on by its timestamps, and always grow.

    Where the timestamps begin or jump they are set by our clock. A frame without one lies as far behind the frame
    before as that lay behind its own; where there are none for longer than `gap`, frames take the time of arrival.

    Args:
        gap: seconds between two frames above which the timestamps have jumped.
        interval: seconds between two frames, until the timestamps tell.
        now: our clock, seconds.
        last_time: of the last frame of an earlier connection.
    """

    def __init__(self, *, gap: float, interval: float, now: Callable[[], float], last_time: float | None = None):
        self.last_time = last_time
        self._gap, self._interval, self._now = gap, interval, now
        self._stamp: float | None = None  # the last one
        self._offset = 0.0  # from timestamps to seconds
        self._missing = 0  # frames since that had none

    def time_of(self, stamp: float | None) -> tuple[float, bool]:
        """The second of the next frame by its timestamp (seconds, or None), and whether that jumped."""
        before, time, jumped = self._stamp, None, False
        last = -1.0 if self.last_time is None else self.last_time
        if stamp is None:
            self._missing += 1
            if before is not None and self._missing * self._interval <= self._gap:
                time = last + self._interval
            else:
                self._stamp = None
        else:
            if before is not None:
                jumped = stamp <= before or stamp + self._offset - last > self._gap
                if not jumped:
                    time = stamp + self._offset
                    self._interval = (stamp - before) / (self._missing + 1)
            self._stamp, self._missing = stamp, 0
        self.last_time = max(self._now() if time is None else time, last + TICK)
        if stamp is not None and time is None:
            self._offset = self.last_time - stamp
        return self.last_time, jumped


class PlaybackClock:
    """When the frames of a recording are due that is shown at its own speed.

    Where its times jump the next frame is shown one frame later, and the clock runs on from there.

    Args:
        start: when its second 0 is shown; `time.monotonic` seconds.
        gap: seconds between two frames above which the times have jumped.
        interval: seconds between two frames, as the recording says.
    """

    def __init__(self, start: float, *, gap: float, interval: float):
        self._zero, self._gap, self._interval = start, gap, interval
        self._last = -interval

    def due(self, time: float) -> float:
        """When the next frame, of this second, is to be shown; `time.monotonic` seconds."""
        if not 0 < time - self._last <= self._gap:
            self._zero += self._last + self._interval - time
        self._last = time
        return self._zero + time
