"""What happens when in a long recording: one decoding pass, scores over time, events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from teinet.data.transforms import test_crops
from teinet.data.video.play import Condition, play, promised_length
from teinet.detection.events import Event, Events, Rules
from teinet.detection.pace import Pace, spacing_for
from teinet.detection.rows import Row, Rows, Taken, rows_of
from teinet.detection.strip import Strip, StripMaker
from teinet.errors import Interrupted

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

_MISSED = 0.5  # seconds, or
_MISSED_SHARE = 0.01  # of its stated length, by which a recording may end early without a word


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Scores and events of one recording.

    Args:
        path: the file.
        class_names: in the order of the scores.
        reaches: (n, 2) seconds of the first and the last frame that each row of scores is of: those of a window, or
            those that a stream averages over. Before the last one has come nobody can know the scores.
        scores: (n, classes), each row sums to 1.
        events: in the order in which they began.
        spacing: seconds between the frames that the network took.
        begins: (n,) whether a stream begins with a row: the first one, and after a restart or a change of size.
        restarts: gaps and times that ran backwards, after which a stream began anew.
        resizes: changes of the picture's size, likewise.
        broken: packets and frames that could not be decoded whole.
        until: the second of the recording's last frame.
        end: the second until which that frame is shown.
        stated: seconds that the file says its pictures last, where it ends well before that; else None.
        strip: small pictures over its length; None where none were asked for.
    """

    path: str
    class_names: tuple[str, ...]
    reaches: np.ndarray
    scores: np.ndarray
    events: tuple[Event, ...]
    spacing: float
    begins: np.ndarray
    restarts: int = 0
    resizes: int = 0
    broken: int = 0
    until: float = 0.0
    end: float = 0.0
    stated: float | None = None
    strip: Strip | None = None

    @property
    def times(self) -> np.ndarray:
        """(n,) seconds that the rows of scores speak of: the middle of their frames."""
        return self.reaches.mean(1)

    def to_dict(self) -> dict[str, Any]:
        """The events as JSON values, without the scores."""
        return {
            "path": self.path,
            "spacing": self.spacing,
            "restarts": self.restarts,
            "resizes": self.resizes,
            "broken": self.broken,
            "ends": round(self.end, 3),
            "stated": None if self.stated is None else round(self.stated, 3),
            "events": [event.to_dict() for event in self.events],
        }

    @property
    def trouble(self) -> str:
        """What was wrong with the recording, in a line; empty for nothing."""
        counted = (
            (self.broken, "packet", "could not be decoded whole"),
            (self.restarts, "restart", "at gaps in time, or where it ran backwards"),
            (self.resizes, "restart", "at changes of the picture's size"),
        )
        said = [f"{count} {what}{'s' * (count > 1)} {more}" for count, what, more in counted if count]
        if self.stated is not None:
            said.append(f"ends at {self.end:.1f} s of {self.stated:.1f} s: cut off?")
        return "; ".join(said)


def timeline(
    recognizer: Recognizer,
    video: str | PathLike,
    *,
    spacing: float | None = None,
    rules: Rules | None = None,
    span: int | None = None,
    hop: int | None = None,
    windows: bool = False,
    strip: bool = False,
    stop: Flag | None = None,
    progress: Callable[[float], object] | None = None,
    threads: int | Literal["auto"] = "auto",
) -> Timeline:
    """Find out what happens when in a video, however long, decoding it once.

    A causal network goes on from frame to frame with what it remembers, some frames at a time; a two-sided one looks at
    overlapping windows of T frames. Either gives what separate steps, or separate windows, give.

    Args:
        recognizer: of any network.
        video: a file.
        spacing: seconds between the frames that the network takes; None takes that of its training.
        rules: when events begin and end.
        span: from frame to frame: how many of the last frames a score averages over, at least 1; None takes T.
        hop: windows: frames from one to the next, 1 to T; None takes half of T.
        windows: whether a causal network looks at windows too.
        strip: whether to keep small pictures too.
        stop: once it is set, `Interrupted` is raised.
        progress: is called with the second reached, for each frame.
        threads: of the decoder.

    Raises:
        ConfigError: a value out of its range or without a meaning for this network, or no spacing that is
            known.
        VideoError: a file that cannot be read.
        Interrupted: `stop` was set.
    """
    spacing = spacing_for(recognizer, spacing)
    rules = (rules or Rules()).filled(recognizer.nothing)
    Events(recognizer.class_names, rules)  # finds a label that does not exist before all the work
    rows = rows_of(recognizer, span=span, hop=hop, windows=windows)
    work = _Work(recognizer, spacing, rows, strip)

    def wanted(second: float) -> bool:
        if progress is not None:
            progress(second)
        return work.wants(second)

    for second, picture in play(video, wanted, condition=work.condition, threads=threads):
        work.take(second, picture)
        if stop is not None and stop.is_set():
            raise Interrupted(f"{fspath(video)}: stopped at {second:.1f} s")
    work.finish()
    reaches = np.array([row.reach for row in work.found], dtype=np.float64).reshape(-1, 2)
    scores = np.array([row.scores for row in work.found], dtype=np.float32).reshape(-1, len(recognizer.class_names))
    begins = np.array([row.begins for row in work.found], dtype=bool)
    return Timeline(
        path=fspath(video),
        class_names=recognizer.class_names,
        reaches=reaches,
        scores=scores,
        events=events_of(reaches, scores, begins, recognizer.class_names, rules),
        spacing=spacing,
        begins=begins,
        restarts=work.pace.restarts,
        resizes=work.resizes,
        broken=work.condition.broken,
        until=work.second,
        end=work.condition.end,
        stated=_missed(promised_length(video), work),
        strip=None if work.strip is None else work.strip.strip,
    )


def events_of(
    reaches: np.ndarray, scores: np.ndarray, begins: np.ndarray, class_names: Sequence[str], rules: Rules | None = None
) -> tuple[Event, ...]:
    """The events in the scores of a recording.

    Args:
        reaches, scores, begins: as in `Timeline`.
        class_names: in the order of the scores.
        rules: when events begin and end.

    Raises:
        ConfigError: a label that means nothing and does not exist.
    """
    events, changes = Events(class_names, rules), []
    for reach, row, anew in zip(reaches.tolist(), scores, begins.tolist(), strict=True):
        changes += events.feed(tuple(reach), row, begins=anew)
    changes += events.finish()
    return tuple(change.event for change in changes if change.what == "end")


def _missed(stated: float | None, work: _Work) -> float | None:
    """The stated length of a recording that does not reach it; of times that run backwards nobody can say."""
    missed = 0.0 if stated is None or not work.ordered else stated - work.condition.end
    return stated if missed > max(_MISSED, _MISSED_SHARE * (stated or 0.0)) else None


class _Work:
    """A recording that is being looked through."""

    def __init__(self, recognizer: Recognizer, spacing: float, rows: Rows, strip: bool):
        self.pace = Pace(spacing)
        self.rows = rows
        self.strip = StripMaker() if strip else None
        self.found: list[Row] = []
        self.condition = Condition()
        self.resizes = 0
        self.second = 0.0  # of the last frame, taken or not
        self.ordered = True
        self._recognizer = recognizer
        self._first = True
        self._size: tuple[int, int] | None = None
        self._verdict = "restart"

    def wants(self, second: float) -> bool:
        """Judge the next frame."""
        self.ordered = self.ordered and (self._first or second > self.second)
        self._first, self.second = False, second
        self._verdict = self.pace.judge(second)
        return self._verdict != "skip"

    def take(self, second: float, picture: np.ndarray) -> None:
        """The picture (H, W, 3) of a frame that is wanted, cut as in a test."""
        size = picture.shape[:2]
        resized = self._size not in (None, size)
        restarts = self._verdict == "restart"
        begins = self._size is None or resized or restarts
        self._size, self.resizes = size, self.resizes + (resized and not restarts)  # a moment counts once
        if self.strip is not None:
            self.strip.feed(second, picture)
        cut = test_crops(torch.from_numpy(picture)[None], self._recognizer.preprocessing)[0, 0]
        self._add(self.rows.feed(Taken(second, cut, begins)))

    def finish(self) -> None:
        """The recording has ended."""
        self._add(self.rows.finish())

    def _add(self, rows: list[Row]) -> None:
        self.found += rows
