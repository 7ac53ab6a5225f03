"""Event detection in a long recording: scores over time and events, from one decoding pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from threading import Event as Flag
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from teinet.data.lists.data_config import MAX_DAMAGED, check_max_damaged
from teinet.data.video.frames import FrameStream
from teinet.data.video.reader import VideoReader
from teinet.data.video.source import Source
from teinet.data.view_loading import ONE_FRAME
from teinet.detection.detector import Detector
from teinet.detection.events import Change, Event, EventDetector, Rules
from teinet.detection.scorer import Recognizes, ScoreRow
from teinet.errors import Interrupted, VideoError

_MISSED = 0.5  # seconds, or
_MISSED_SHARE = 0.01  # of its stated length, by which a recording may end early without a warning
_MOST_IMAGES = 48
_BOX = (192, 108)  # pixels, width and height at most


class Thumbnails:
    """Small images at about equal distances over a recording of any length.

    Attributes:
        seconds: of each, at most 48.
        images: (h, w, 3) uint8 each, at most 192 x 108 pixels.
    """

    def __init__(self, seconds: Iterable[float] = (), images: Iterable[np.ndarray] = ()):
        self.seconds, self.images = list(seconds), list(images)
        self._apart = 0.0

    def add(self, second: float, image: np.ndarray) -> None:
        """Add the image (H, W, 3) uint8 of a time in seconds, unless the last is near; pad other shapes with black."""
        if self.seconds and 0 <= second - self.seconds[-1] < self._apart:
            return
        height, width = image.shape[:2]
        scale = min(1.0, _BOX[0] / width, _BOX[1] / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if self.images and self.images[0].shape[:2] != (size[1], size[0]):
            small = ImageOps.pad(small, self.images[0].shape[1::-1], Image.Resampling.BILINEAR)
        self.seconds.append(second)
        self.images.append(np.asarray(small))
        if len(self.seconds) > _MOST_IMAGES:  # every second one, twice as far apart
            self.seconds, self.images = self.seconds[::2], self.images[::2]
            self._apart = 2 * self._apart or (self.seconds[-1] - self.seconds[0]) / (len(self.seconds) - 1) * 0.99

    def nearest(self, second: float) -> np.ndarray:
        """Return the thumbnail (h, w, 3) nearest to a time in seconds."""
        return self.images[int(np.abs(np.array(self.seconds) - second).argmin())]


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Scores and events of one recording.

    Args:
        path: the file.
        class_names: in the order of the scores.
        intervals: (n, 2) seconds of the first and the last frame of each row of scores.
        scores: (n, classes), each row sums to 1.
        events: in the order in which they began.
        frame_interval: seconds between the frames that the model took.
        resets: (n,) whether the state was reset before a row.
        restarts, resizes: resets of the state at gaps or backward jumps in time, and at changes of the frame size.
        broken: packets and frames that could not be decoded whole, or were lost.
        until, end: seconds at which the last frame appears and disappears.
        stated_duration: length in seconds by the file's header, if the frames end well before it; else None.
        strip: thumbnails over its length, if asked for.
    """

    path: str
    class_names: tuple[str, ...]
    intervals: np.ndarray
    scores: np.ndarray
    events: tuple[Event, ...]
    frame_interval: float
    resets: np.ndarray
    restarts: int = 0
    resizes: int = 0
    broken: int = 0
    until: float = 0.0
    end: float = 0.0
    stated_duration: float | None = None
    strip: Thumbnails | None = None

    @property
    def times(self) -> np.ndarray:
        """(n,) seconds of the rows of scores: the middle of their frames."""
        return self.intervals.mean(1)

    def to_dict(self) -> dict[str, Any]:
        """Return the events as JSON values, without the scores."""
        return {
            **{name: getattr(self, name) for name in ("path", "frame_interval", "restarts", "resizes", "broken")},
            "end_time": round(self.end, 3),
            "stated_duration": None if self.stated_duration is None else round(self.stated_duration, 3),
            "events": [event.to_dict() for event in self.events],
        }

    @property
    def trouble(self) -> str:
        """Problems with the recording, in one line; empty if there are none."""
        counted = (
            (self.broken, "packet", "could not be decoded whole"),
            (self.restarts, "restart", "at gaps or backward jumps in time"),
            (self.resizes, "restart", "at changes of the frame size"),
        )
        parts = [f"{count} {what}{'s' * (count > 1)} {more}" for count, what, more in counted if count]
        if len(self.intervals) and self.intervals[0, 0] == self.intervals[-1, 1]:
            parts.append(ONE_FRAME)
        if self.stated_duration is not None:
            parts.append(f"ends at {self.end:.1f} s of {self.stated_duration:.1f} s: cut off?")
        return "; ".join(parts)


def timeline(
    recognizer: Recognizes,
    video: str | PathLike,
    *,
    frame_interval: float | None = None,
    rules: Rules | None = None,
    strip: bool = False,
    stop: Flag | None = None,
    progress: Callable[[float], object] | None = None,
    threads: int | Literal["auto"] = "auto",
    max_damaged: float = MAX_DAMAGED,
    **scoring: Any,
) -> Timeline:
    """Detect the events in a recording of any length, decoding it once.

    Scores equal those of single steps of a causal model, or of single overlapping windows of T frames.

    Args:
        video: a file.
        frame_interval, rules: see `Detector`.
        strip: also keep thumbnails.
        stop: ends the work when it is set.
        progress: is called with the current time in seconds for each frame.
        threads: decoder threads.
        max_damaged: largest share of the frames that may be lost or damaged.
        scoring: smoothing, stride, windows, state: see `make_scorer`.

    Raises:
        ConfigError: a value out of its range or not for this model, or an unknown frame interval.
        VideoError: the file cannot be read, or more of it is damaged.
        Interrupted: `stop` was set.
    """
    path = fspath(video)
    check_max_damaged(max_damaged, "max_damaged")
    detector = Detector(recognizer, frame_interval=frame_interval, rules=rules, batched=True, **scoring)
    images = Thumbnails() if strip else None
    reader = VideoReader(Source(path, path, "file"), threads=threads)
    if reader.is_image_folder:
        raise VideoError(path, "a folder of images has no timestamps; events need a video file")
    rows: list[ScoreRow] = []
    changes: list[Change] = []
    until = end = 0.0
    with reader.open() as frames:
        frames.count_lost()
        for frame in frames:
            if progress is not None:
                progress(frame.time)
            taken = detector.sampler.num_taken
            changes += detector.push(frame)
            rows += detector.rows
            until, end = frame.time, frame.time + frame.duration
            if detector.sampler.num_taken == taken:
                continue
            if images is not None:
                images.add(frame.time, frame.image)
            if stop is not None and stop.is_set():
                raise Interrupted(f"{path}: stopped at {frame.time:.1f} s")
        if frames.last_time is None:
            raise VideoError(path, "none of its frames can be decoded")
        stated = _missed(frames, end)
        _refuse_damaged(path, frames, end, stated, max_damaged)
        changes += detector.finish()
        rows += detector.rows
        return Timeline(
            path=path,
            class_names=recognizer.class_names,
            intervals=np.array([row.interval for row in rows], np.float64).reshape(-1, 2),
            scores=np.array([row.scores for row in rows], np.float32).reshape(-1, len(recognizer.class_names)),
            events=_ended(changes),
            frame_interval=detector.sampler.interval,
            resets=np.array([row.reset for row in rows], bool),
            restarts=detector.sampler.num_resets,
            resizes=detector.sampler.num_resizes,
            broken=frames.num_damaged,
            until=until,
            end=end,
            stated_duration=stated,
            strip=images,
        )


def events_of(
    intervals: np.ndarray, scores: np.ndarray, resets: np.ndarray, class_names: Sequence[str], rules: Rules | None
) -> tuple[Event, ...]:
    """Return the events in a recording's scores; arrays, names as in `Timeline`, errors as `Rules.check`."""
    events, changes = EventDetector(class_names, rules), []
    for interval, row, reset in zip(intervals.tolist(), scores, resets.tolist(), strict=True):
        changes += events.update(tuple(interval), row, reset=reset)
    return _ended(changes + events.finish())


def _ended(changes: Sequence[Change]) -> tuple[Event, ...]:
    return tuple(change.event for change in changes if change.type == "end")


def _missed(frames: FrameStream, end: float) -> float | None:
    """Return the stated length of a recording that ends well before it; None if times are not in order."""
    is_own = frames.is_alone or not frames.length_includes_sound
    stated = frames.stated_length if frames.is_ordered and is_own else None
    return stated if stated is not None and stated - end > max(_MISSED, _MISSED_SHARE * stated) else None


def _refuse_damaged(path: str, frames: FrameStream, end: float, stated: float | None, share: float) -> None:
    """Raise VideoError if more than this share of a recording's frames, or of its length, is lost or damaged."""
    expected = frames.num_frames + frames.num_lost
    if frames.num_damaged > share * expected:
        reason = f"damaged: {frames.num_damaged} of its {expected} frames cannot be decoded whole"
    elif stated is not None and stated - end > share * stated:
        reason = f"cut off: it ends at {end:.1f} s of {stated:.1f} s"
    else:
        return
    raise VideoError(path, f"{reason}; more than max_damaged ({share:g})")
