"""What happens when in a long recording: one decoding pass, scores over time, events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from teinet.data.play import play
from teinet.data.transforms import test_crops
from teinet.errors import ConfigError
from teinet.inference.events import Event, Events, Rules
from teinet.inference.pace import Pace
from teinet.models.insertion import is_causal
from teinet.models.stepping import SteppingClassifier

if TYPE_CHECKING:
    from teinet.inference.recognizer import Recognizer

_CHUNK = 8  # frames that a causal network takes at a time: as many as a clip has, so as fast a frame
_WINDOWS = 2  # of a two-sided network, in one pass


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Scores and events of one recording.

    Args:
        path: the file.
        class_names: in the order of the scores.
        times: (n,) seconds: of each frame that was taken, or of each window's middle.
        scores: (n, classes), each row sums to 1.
        events: in the order in which they began.
        spacing: seconds between the frames that the network took.
        restarts: gaps and times that ran backwards, after which a stream began anew.
    """

    path: str
    class_names: tuple[str, ...]
    times: np.ndarray
    scores: np.ndarray
    events: tuple[Event, ...]
    spacing: float
    restarts: int

    def to_dict(self) -> dict[str, Any]:
        """The events as JSON values, without the scores."""
        return {
            "path": self.path,
            "spacing": self.spacing,
            "restarts": self.restarts,
            "events": [event.to_dict() for event in self.events],
        }


def timeline(
    recognizer: Recognizer,
    video: str | PathLike,
    *,
    spacing: float | None = None,
    rules: Rules | None = None,
    span: int | None = None,
    hop: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Timeline:
    """Find out what happens when in a video, however long, decoding it once.

    A causal network goes on from frame to frame with what it remembers, some frames at a time; a two-sided one looks at
    overlapping windows of T frames. Either gives what separate steps, or separate windows, give.

    Args:
        recognizer: of any network.
        video: a file.
        spacing: seconds between the frames that the network takes; None takes that of its training.
        rules: when events begin and end.
        span: causal: how many of the last frames a score averages over, at least 1; None takes T.
        hop: two-sided: frames from one window to the next, 1 to T; None takes half of T.
        progress: is called with the second reached.

    Raises:
        ConfigError: a value out of its range, or no spacing that is known.
        VideoError: a file that cannot be read.
    """
    if spacing is None:
        spacing = recognizer.spacing
        if spacing is None:
            raise ConfigError(
                "this recogniser does not know how far apart in time its frames lay in training; say how many seconds "
                "lie between two frames (spacing=, --every)"
            )
    pace, events = Pace(spacing), Events(recognizer.class_names, rules)
    causal = is_causal(recognizer.model)
    for name, value, most in (("span", span, None), ("hop", hop, recognizer.num_frames)):
        if value is not None and (value < 1 or (most and value > most)):
            raise ConfigError(f"{name} must be at least 1{f' and at most {most}' if most else ''} frames, got {value}")
    runs = _runs(recognizer, video, pace, progress)
    rows = _causal(recognizer, runs, span) if causal else _windows(recognizer, runs, hop)
    times, scores, changes = [], [], []
    for time, row, fresh in rows:
        if fresh:
            changes += events.finish()
        times.append(time)
        scores.append(row)
        changes += events.feed(time, row)
    changes += events.finish()
    return Timeline(
        path=fspath(video),
        class_names=recognizer.class_names,
        times=np.array(times),
        scores=np.array(scores, dtype=np.float32).reshape(-1, len(recognizer.class_names)),
        events=tuple(change.event for change in changes if change.what == "end"),
        spacing=spacing,
        restarts=pace.restarts,
    )


Taken = tuple[float, Tensor, bool]  # second, (3, S, S) uint8, whether the stream begins with it
Row = tuple[float, np.ndarray, bool]  # second, scores (classes,), likewise


def _runs(
    recognizer: Recognizer, video: str | PathLike, pace: Pace, progress: Callable[[float], object] | None
) -> Iterator[Taken]:
    """The frames that the pace takes, cut as in a test."""
    verdict = "restart"

    def wanted(second: float) -> bool:
        nonlocal verdict
        verdict = pace.judge(second)
        if progress is not None:
            progress(second)
        return verdict != "skip"

    first = True
    for second, picture in play(video, wanted):
        yield (
            second,
            test_crops(torch.from_numpy(picture)[None], recognizer.preprocessing)[0, 0],
            (first or verdict == "restart"),
        )
        first = False


def _causal(recognizer: Recognizer, taken: Iterator[Taken], span: int | None) -> Iterator[Row]:
    network, device = SteppingClassifier(recognizer.model), recognizer.device
    span = recognizer.num_frames if span is None else span
    past = network.blank(torch.zeros(1, 3, *[recognizer.preprocessing.size] * 2, dtype=torch.uint8, device=device))
    recent: list[Tensor] = []
    for chunk in _chunks(taken):
        fresh = chunk[0][2]
        if fresh:
            recent = []
            for module in past:
                for tensor in module:
                    tensor.zero_()
        pictures = torch.stack([picture for _, picture, _ in chunk])[None].to(device)
        logits, past = network(pictures, past, torch.ones(1, dtype=torch.bool, device=device) if fresh else None)
        for (second, _, begins), row in zip(chunk, logits[0].double().cpu(), strict=True):
            recent = [*recent, row][-span:]
            yield second, torch.stack(recent).mean(0).softmax(0).numpy(), begins


def _chunks(taken: Iterator[Taken]) -> Iterator[list[Taken]]:
    """Frames some at a time; where a stream begins anew, a chunk does."""
    chunk: list[Taken] = []
    for each in taken:
        if chunk and (each[2] or len(chunk) == _CHUNK):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def _windows(recognizer: Recognizer, taken: Iterator[Taken], hop: int | None) -> Iterator[Row]:
    frames = recognizer.num_frames
    hop = max(1, frames // 2) if hop is None else hop
    waiting: list[tuple[float, Tensor, bool]] = []
    for window, fresh in _cut(taken, frames, hop):
        middle = (window[0][0] + window[-1][0]) / 2
        waiting.append((middle, torch.stack([picture for _, picture, _ in window]), fresh))
        if len(waiting) == _WINDOWS:
            yield from _scored(recognizer, waiting)
            waiting = []
    if waiting:
        yield from _scored(recognizer, waiting)


def _cut(taken: Iterator[Taken], frames: int, hop: int) -> Iterator[tuple[list[Taken], bool]]:
    """Windows of T frames, `hop` apart, and a last one that ends with the stretch, so that no frame is left out.

    A stretch shorter than T repeats its last frame, as a short clip does.
    """
    window: deque[Taken] = deque(maxlen=frames)
    fresh, unseen = True, 0
    for each in taken:
        if each[2]:
            if unseen:
                yield _filled(window, frames), fresh
            window.clear()
            fresh, unseen = True, 0
        window.append(each)
        unseen += 1
        if len(window) == frames and (fresh or unseen == hop):
            yield list(window), fresh
            fresh, unseen = False, 0
    if unseen:
        yield _filled(window, frames), fresh


def _filled(window: deque[Taken], frames: int) -> list[Taken]:
    return [*window, *[window[-1]] * (frames - len(window))]


def _scored(recognizer: Recognizer, windows: list[tuple[float, Tensor, bool]]) -> Iterator[Row]:
    clips = torch.stack([clip for _, clip, _ in windows]).to(recognizer.device)
    with torch.inference_mode():
        scores = recognizer.model(clips).double().softmax(1).cpu().numpy()
    for (middle, _, fresh), row in zip(windows, scores, strict=True):
        yield middle, row, fresh
