"""Reading video: frames by index, or one after the other, from files, folders of images and live sources."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Literal

import av
import numpy as np
from av.container import InputContainer

from teinet.data.lists.data_config import MAX_DAMAGED, check_max_damaged
from teinet.data.remote import address_of
from teinet.data.video import image_folder
from teinet.data.video.clocks import LiveClock, RecordedClock
from teinet.data.video.container import begin, open_video, stated_length
from teinet.data.video.frames import Frame, Frames, FrameStream, ImageStack, Transform, decode, frame_interval
from teinet.data.video.index import FrameIndex, cached, decoded_index, folder_index, frame_index, measured_rate
from teinet.data.video.pixels import Converter
from teinet.data.video.source import Source
from teinet.errors import ConfigError, VideoError, check_numbers

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .avi .divx .mkv .webm .gif .mpg .mpeg .mpe .m1v .m2v .vob .ts .m2ts .mts .flv .f4v .wmv .asf "
    ".ogv .ogg .3gp .3g2 .mxf .rm .rmvb .y4m .h264 .264 .h265 .hevc .ivf .nut .dv .mjpeg .mjpg .apng".split()
)

_ROUNDING = 1e-6  # seconds
_WORTH_A_JUMP = 8  # frames; decoding fewer is faster than seeking

Choice = Callable[[int], "Sequence[int] | np.ndarray"]


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return true if a path looks like a video: a file with a video's suffix, or a folder with numbered images."""
    path = os.fspath(path)
    if image_folder.is_folder(path):
        return image_folder.has_images(path)
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


class VideoReader:
    """A video: its frames by index, or one after the other at any length.

        reader = VideoReader("clip.mp4")
        len(reader), reader.times, reader.frame_rate          # counted and measured, not read from a header
        reader.frames_at([0, 5]).images                       # (2, H, W, 3) uint8
        for frame in reader:                                  # in constant memory; frame.image converts
            frame.image, frame.time, frame.is_discontinuity

    Files and folders of images support both. A camera, an address or a pipe can only be iterated; each iteration is a
    new connection whose times continue those of the previous one. No file stays open. All methods raise VideoError,
    with a reason of one line, if a file cannot be read.

    A file may be cut off or damaged: frames that are there keep their times, and `damage` counts the others. Damage
    within the data is found by decoding: where it lies before a frame that is asked for, and by `verify` anywhere.

    Args:
        source: a path (a file that FFmpeg reads, a folder of numbered images, or a pattern of their names such as
            `folder/img_%05d.jpg`); `camera`, `camera:1`, `/dev/video0`; an address with ://; `-` for standard input; or
            a `Source`. An existing path has priority.
        threads: decoder threads; 1 suits the many workers of a data loader, "auto" a single video.
        patience: seconds without a response or data after which a live source counts as lost.
        gap: seconds between two frames above which a live source's timestamps have jumped.
        start: `time.monotonic` seconds that a live source's times count from; None is now.
        guess_times: treat a pipe or address without timestamps as a recording with the stated rate; otherwise its
            frames are timed as they arrive.
        max_damaged: largest share of a file's frames that may be lost or damaged; above it the file cannot be read.
    """

    channels = 3  # of a frame

    def __init__(
        self,
        source: str | os.PathLike[str] | Source,
        *,
        threads: int | Literal["auto"] = "auto",
        patience: float = 10.0,
        gap: float = 2.0,
        start: float | None = None,
        guess_times: bool = False,
        max_damaged: float = MAX_DAMAGED,
    ):
        check_numbers(patience=patience, gap=gap, start=start)
        if threads != "auto" and not (isinstance(threads, int) and threads > 0):
            raise ConfigError(f'threads takes a number of at least 1, or "auto", got {threads!r}')
        self.source = source if isinstance(source, Source) else _source(source)
        self.path = self.source.address if self.source.kind == "file" else self.source.name
        self.is_live = self.source.kind != "file"
        self.is_image_folder = not self.is_live and image_folder.is_folder(self.path)
        self._threads: int | Literal["auto"] = threads
        self._patience, self._gap, self._guess_times = patience, gap, guess_times
        self._max_damaged = check_max_damaged(max_damaged, "max_damaged")
        self._start = time.monotonic() if start is None else start
        self._known: FrameIndex | None = None
        self._pass: FrameStream | None = None

    def __len__(self) -> int:
        if self.is_live:
            raise TypeError(f"{self.path}: live video has no length; iterate over the reader")
        return self._index.num_frames

    @property
    def times(self) -> np.ndarray:
        """(N,) seconds at which frames are shown, from the start of the file; NaN in a folder of images."""
        return self._index.times

    @property
    def durations(self) -> np.ndarray:
        """(N,) seconds for which frames are shown; NaN in a folder of images."""
        return self._index.durations

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last; None in a folder of images, or if unknown."""
        return self._index.duration

    @property
    def damage(self) -> str:
        """The damage of a file so far as it is known, in words that count frames; empty if there is none."""
        return "" if self.is_live else self._index.damage

    @property
    def end_time(self) -> float | None:
        """Second at which the last frame ends: later than `duration` if frames begin after the sound."""
        return None if self.duration is None else float(self.times[0]) + self.duration

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; None in a folder of images, or if unknown."""
        return self._index.frame_rate

    def rate_of(self, shown: range) -> float | None:
        """Return the measured frames per second of some consecutive frames; None as for `frame_rate`."""
        if len(shown) == len(self) or len(shown) < 2 or self.frame_rate is None:
            return self.frame_rate
        return measured_rate(self.times[shown.start : shown.stop], self.durations[shown[-1]], self.frame_rate)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame, upright."""
        return self._index.width, self._index.height

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, or the suffix of the images."""
        return self._index.codec

    @property
    def stated_length(self) -> float | None:
        """Seconds stated by a file, without reading its frames; None if not stated, or not a file."""
        if self.is_live or self.is_image_folder:
            return None
        try:
            with open_video(self.path, once=True) as (container, stream):
                return stated_length(container, stream)
        except VideoError:
            return None

    @property
    def num_broken(self) -> int:
        """Number of packets and frames that the latest iteration could not decode completely, so far."""
        return 0 if self._pass is None else self._pass.num_broken

    def frames_shown(self, start: float | None = None, end: float | None = None) -> range:
        """Return the indices of the frames that are shown between `start` and `end`, in seconds.

        A frame is shown until the next one, so the first of them may begin before `start`.

        Raises:
            VideoError: there are none, or seconds are given for a folder of images.
        """
        check_numbers(start=start, end=end)
        if self.is_image_folder and (start is not None or end is not None):
            raise VideoError(self.path, "a folder of images has no timestamps; start and end cannot be used")
        # Times are multiples of a time base: a tolerance of a microsecond allows for rounded numbers.
        first = 0 if start is None else max(0, int(np.searchsorted(self.times, start + _ROUNDING, "right")) - 1)
        last = self._index.num_frames if end is None else int(np.searchsorted(self.times, end - _ROUNDING))
        ended = start is not None and self.end_time is not None and start >= self.end_time - _ROUNDING
        if ended or first >= last or (start is not None and end is not None and start >= end):
            until = "its end" if end is None else f"{end:g} s"
            length = "" if self.end_time is None else f"; the video ends at {self.end_time:.2f} s"
            raise VideoError(self.path, f"no frames between {start or 0:g} s and {until}{length}")
        return range(first, last)

    def seconds_shown(self, start: float | None = None, end: float | None = None) -> float | None:
        """Return the measured seconds between `start` and `end` in which frames are shown; None in a folder of images.

        Raises:
            VideoError: as `frames_shown`.
        """
        shown = self.frames_shown(start, end)
        if self.end_time is None:
            return None
        begins, ends = self.times[shown[0]], self.times[shown[-1]] + self.durations[shown[-1]]
        return float(min(ends, ends if end is None else end) - max(begins, begins if start is None else start))

    def frames_at(self, indices: Sequence[int] | np.ndarray) -> Frames:
        """Decode the frames with these indices, in any order, repeats allowed.

        Args:
            indices: at least one, each from 0 to N-1 for the N frames of the video; negative ones do not count from
                the end.

        Raises:
            ConfigError: an index that is no whole number.
            IndexError: no index, or one outside the video; the message names it, the file and N.
            VideoError: the file is missing, empty, cut off or not a video.
        """
        return self.sample(lambda n: indices)

    def sample(
        self,
        choose: Choice,
        start: float | None = None,
        end: float | None = None,
        *,
        transform: Transform | None = None,
    ) -> Frames:
        """Decode the frames that `choose` selects, each once, and stop after the last.

        Args:
            choose: takes n, the number of frames between `start` and `end`, and returns indices from 0 to n-1 in any
                order, repeats allowed; called again with the true n if decoding gives another number of frames.
            start, end: seconds; only frames shown between them count, see `frames_shown`.
            transform: maps a few images (n, H, W, 3) uint8 to (n, ...), the same for any n, while others are decoded;
                memory then holds what it returns, and few whole images at a time.

        Raises:
            IndexError: no index, or one outside 0..n-1, which the message names.
            VideoError: the file is missing, empty, cut off, not a video, or has no frames between `start` and `end`.
        """
        for _ in range(3):
            shown = self.frames_shown(start, end)
            chosen = self._chosen(choose, len(shown)) + shown.start
            wanted, places = np.unique(chosen, return_inverse=True)
            images = self._read(wanted, transform) if self.is_image_folder else self._decode(wanted, transform)
            if images is not None:
                break
            self.recount()
        else:
            raise VideoError(self.path, "decodes to a different number of frames each time")
        if not np.array_equal(places, np.arange(len(wanted))):
            images = images[places]
        return Frames(images, chosen, self.times[chosen], len(shown))

    @contextmanager
    def open(self) -> Iterator[FrameStream]:
        """Open one pass over a file or a live source inside a block; iterating over the reader is the short form.

        Raises:
            VideoError: it cannot be opened, or the connection is lost; also for FFmpeg's errors in the block.
        """
        if self.is_image_folder:
            raise VideoError(self.path, "a folder; live video takes a camera, an address or a file")
        with self.source.open(self._patience, self._threads) as (container, stream):
            # a stream with a stated end is a recording, and so is any file
            recorded = not self.is_live or (self.source.kind == "stream" and bool(container.duration))
            interval = frame_interval(stream)
            if recorded:
                clock = RecordedClock(begin(container), interval)
            else:
                last = None if self._pass is None else self._pass.last_time
                clock = LiveClock(
                    gap=self._gap, interval=interval, now=lambda: time.monotonic() - self._start, last_time=last
                )
            # Streams without timestamps (MJPEG, bare H.264) have no start; FFmpeg then makes up timestamps.
            has_times = container.start_time is not None or stream.start_time is not None
            guess = recorded or self._guess_times
            patience = math.inf if recorded else self._patience
            self._pass = FrameStream(container, stream, clock, has_times=has_times or guess, patience=patience)
            yield self._pass

    def __iter__(self) -> Iterator[Frame]:
        if self.is_image_folder:
            yield from self._iterate_images()
            return
        empty = True
        with self.open() as frames:
            for frame in frames:
                empty = False
                yield frame
            if empty and (frames.is_recorded or self.source.kind == "pipe"):
                raise VideoError(self.path, "none of its frames can be decoded")

    def verify(self, on_frame: Callable[[], object] = lambda: None) -> None:
        """Decode all frames in constant memory, and correct their number and times; call `on_frame` after each.

        Raises:
            VideoError: the file cannot be read, or more of its frames are damaged than `max_damaged` allows.
        """
        count, kind = len(self), None
        on_frame()
        if self.is_image_folder:
            for frame in self:
                frame.image  # noqa: B018
                on_frame()
            return
        with self.open() as frames:
            frames.count_lost()
            for frame in frames:
                if kind != (kind := (*frame.size, frame.raw and frame.raw.format.name)):  # test the conversion
                    frame.image  # noqa: B018
                on_frame()
            damaged = frames.num_damaged > 0 or frames.num_frames != count
        if damaged and not self._index.is_decoded:
            self.recount(on_frame)

    def recount(self, on_frame: Callable[[], object] = lambda: None) -> None:
        """Decode all frames for their number and times; call `on_frame` after each. Errors are those of `verify`."""
        self._known = decoded_index(self.path, on_frame)
        self._known.refuse_damaged(self.path, self._max_damaged)

    @cached_property
    def _names(self) -> Sequence[str]:
        """The names of a folder's images, one a frame."""
        return image_folder.image_names(self.path)

    @property
    def _index(self) -> FrameIndex:
        if self.is_live:
            raise VideoError(self.path, "live video can only be iterated")
        if self._known is None:
            index = folder_index(self.path, self._names) if self.is_image_folder else frame_index(self.path)
            index.refuse_damaged(self.path, self._max_damaged)
            self._known = index
        return self._known

    def _chosen(self, choose: Choice, n: int) -> np.ndarray:
        chosen = np.asarray(choose(n)).reshape(-1)
        if len(chosen) and chosen.dtype.kind not in "iu":
            raise ConfigError(f"{self.path}: frames are chosen by whole numbers, got {chosen.tolist()[0]!r}")
        chosen = chosen.astype(np.int64)
        outside = chosen[(chosen < 0) | (chosen >= n)]
        if len(outside) or not len(chosen):
            wrong = f"frame {outside[0]} is out of range" if len(outside) else "no frame was chosen"
            raise IndexError(f"{self.path}: {wrong}; there are {n} frames, 0 to {n - 1}")
        return chosen

    def _decode(self, wanted: np.ndarray, transform: Transform | None) -> np.ndarray | None:
        """Decode the `wanted` frames (ascending); None if some are missing: the index does not fit the file."""
        index = self._index
        attempts = (_jumping, _plain) if len(index.keys) else (_plain,)
        threads = 1 if index.num_damaged else self._threads  # PyAV loses frames next to errors in other threads
        for attempt in attempts:
            convert = Converter(index.height, index.width)
            stack = ImageStack(len(wanted), index.height, index.width, transform)
            missing, found = set(wanted.tolist()), []
            with open_video(self.path, threads) as (container, stream):
                for number, frame in attempt(container, stream, index, wanted):
                    if frame.is_corrupt and not index.is_decoded:  # without the frames before, it would be another one
                        return None
                    if number in missing:
                        stack.add(partial(convert, frame))
                        missing.remove(number)
                        found.append(number)
                        if not missing:
                            if attempt is not attempts[0]:  # seeking has failed: do not try it again
                                self._known = cached(self.path, replace(index, keys=index.keys[:0]))
                            return stack.images if found == sorted(found) else stack.images[np.argsort(found)]
        return None

    def _read(self, wanted: np.ndarray, transform: Transform | None) -> np.ndarray:
        width, height = self.size
        stack = ImageStack(len(wanted), height, width, transform, channels=self.channels)
        for number in wanted.tolist():
            stack.add(partial(self._image, number))
        return stack.images

    def _image(self, number: int, out: np.ndarray | None = None) -> np.ndarray:
        """Return frame `number` of a folder, in `out` if given."""
        return image_folder.load_image(self.path, self._names[number], self.size, out)

    def _iterate_images(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield Frame(index, math.nan, math.nan, index == 0, self.size, partial(self._image, index))


def file_of_list(path: str) -> str | Source:
    """Return the argument of `VideoReader` for a path of a list, where an address is a file's, not a stream's."""
    return Source(path, path, "file") if address_of(path) else path


def _source(source: str | os.PathLike[str]) -> Source:
    path = os.fspath(source)
    named = path == "-" or "://" in path or path.split(":")[0] == "camera"
    if isinstance(source, str) and (path.startswith("/dev/video") or (named and not os.path.lexists(path))):
        return Source.parse(path)
    return Source(path, path, "file")


Numbered = Iterator[tuple[int, av.VideoFrame]]


def _plain(container: InputContainer, stream: av.VideoStream, index: FrameIndex, wanted: np.ndarray) -> Numbered:
    """Yield numbered frames, decoded from the beginning; end early where timestamps show that some are missing."""
    stamped = index.pts[0] >= 0 or index.pts[-1] != index.pts[0]
    for number, frame in enumerate(decode(container, stream)):
        if stamped and frame.pts is not None:
            if index.is_decoded:  # damage may exchange frames
                number = int(np.searchsorted(index.pts, frame.pts))
            if number >= index.num_frames or index.pts[number] != frame.pts:
                return
        yield number, frame


def _jumping(container: InputContainer, stream: av.VideoStream, index: FrameIndex, wanted: np.ndarray) -> Numbered:
    """Yield frames numbered by timestamps, seeking to keyframes to skip others; end early if they do not match."""
    remaining = iter(wanted.tolist())
    target: int | None = next(remaining)
    position = 0  # the next frame
    key = _key_before(index, target)
    while True:
        if key > position:
            container.seek(int(index.pts[key]), stream=stream, backward=True)
            position = key
        jumped = False
        for frame in decode(container, stream):
            if position > 0 and frame.pts is not None and frame.pts < index.pts[position]:
                continue  # shown before the keyframe: the seek went further back than asked
            if position >= index.num_frames or frame.pts != index.pts[position]:
                return
            yield position, frame
            position += 1
            if position > target:
                target = next(remaining, None)
                if target is None:
                    return
                key = _key_before(index, target)
                if key > position + _WORTH_A_JUMP:
                    jumped = True
                    break
        if not jumped:
            return


def _key_before(index: FrameIndex, target: int) -> int:
    place = int(np.searchsorted(index.keys, target, side="right")) - 1
    return int(index.keys[place]) if place >= 0 else 0
