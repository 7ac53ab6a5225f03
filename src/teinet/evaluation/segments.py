"""How well the events found in recordings agree with their annotated segments.

F1: Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection" (CVPR 2017). Detection by any
overlap (OVLP): Ziyabari et al., "Objective evaluation metrics for automatic classification of EEG events"
(arXiv:1712.10107).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

import numpy as np

from teinet.data.lists.annotations import Recording, Segment
from teinet.detection.events import Event
from teinet.errors import ConfigError

OVERLAPS = (0.1, 0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """An event as it is measured: from `start` on, up to but without `end`, known at `announced` (seconds)."""

    label: str
    start: float
    end: float
    announced: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Of one label, or of all together; see `measure`.

    Args:
        segments, events: how many are annotated, and how many were found.
        f1: by the overlap asked for, 0 to 1; None where there are neither segments nor events.
        detected: share of the segments that some event detects, 0 to 1; None without segments.
        delay_mean, delay_median: seconds from the start of a detected segment to its event's announcement, below 0
            where the event came before; None where none is detected.
        false_alarms_per_hour: of recording.
        accuracy: share of the grid's moments with the right label, of one label among its own; None where it has none.
        seconds: of recording; of one label, of its segments.
    """

    segments: int
    events: int
    f1: dict[float, float | None]
    detected: float | None
    delay_mean: float | None
    delay_median: float | None
    false_alarms: int
    false_alarms_per_hour: float
    accuracy: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, rounded to four places."""
        values = vars(self) | {"f1": {f"{k:g}": _rounded(v) for k, v in self.f1.items()}}
        return {name: _rounded(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """The measures of all recordings.

    Args:
        overall: of all labels together; accuracy counts the moments outside all segments too.
        labels: of each label that is annotated or was found.
        quiet, quiet_seconds: accuracy outside all segments, None without such moments, and how long that is.
        step: seconds between two moments of the grid.
    """

    overall: Measures
    labels: dict[str, Measures]
    quiet: float | None
    quiet_seconds: float
    recordings: int
    step: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "recordings": self.recordings,
            "step": self.step,
            "overall": self.overall.to_dict(),
            "labels": {name: measures.to_dict() for name, measures in self.labels.items()},
            "nothing": {"accuracy": _rounded(self.quiet), "seconds": _rounded(self.quiet_seconds)},
        }


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def detections(events: Sequence[Event], intervals: np.ndarray, *, min_duration: float) -> list[Detection]:
    """Return when each event of a timeline ends, and when it is announced.

    A score belongs to the middle of its frames and holds until the next one, so an event lasts until the score after
    its last one (after the very last, for the median interval). It is announced where `EventDetector` says "begin":
    with the last frame of the first score at least `min_duration` seconds after its start, or of its last score where
    the recording ends before. Computing time is not counted.

    Args:
        events: of `Timeline.events`, in their order.
        intervals: `Timeline.intervals`, (n, 2) seconds of the first and last frame of each score; falls at a restart.
        min_duration: of an event in seconds, as in the rules by which it was found.
    """
    times = intervals.mean(1)
    apart = np.diff(times)
    gap = float(np.median(apart[apart > 0])) if (apart > 0).any() else 0.0
    stretches = np.split(intervals, np.flatnonzero(apart <= 0) + 1)  # each of them ascends
    found: list[Detection] = []
    place, before = 0, -np.inf
    for event in events:
        place = _stretch_of(event, stretches, place, before)
        before, lasts = event.end, stretches[place][:, 1]
        own = stretches[place].mean(1)
        following = int(np.searchsorted(own, event.end + 1e-6))
        end = float(own[following]) if following < len(own) else event.end + gap
        if end - event.end > 2 * gap + 1e-6:  # the stream began again there
            end = event.end + gap
        known = min(int(np.searchsorted(own, event.start + min_duration - 1e-6)), following - 1)
        found.append(Detection(label=event.label, start=event.start, end=end, announced=float(lasts[known])))
    return found


def _stretch_of(event: Event, stretches: Sequence[np.ndarray], place: int, before: float) -> int:
    """Which of several ascending stretches of scores an event lies in, after one that ended at `before` in `place`."""
    for number in range(place + (event.start < before), len(stretches)):
        own = stretches[number]
        if len(own) and own[0, 0] - 1e-6 <= event.start and event.end <= own[-1, 1] + 1e-6:
            return number
    return place


def measure(
    recordings: Sequence[Recording],
    found: Sequence[Sequence[Detection]],
    *,
    step: float = 0.1,
    overlaps: Sequence[float] = OVERLAPS,
) -> SegmentReport:
    """Compare the events found in recordings with their segments, label by label; counts are summed over recordings.

    - F1: in order of time, an event is a hit if the segment that it overlaps most (intersection over union) reaches the
      overlap asked for and was not hit before; other events are false positives, other segments false negatives.
    - Detected, delay: a segment is detected by the first event that overlaps it at all and detects no other one.
    - False alarms: events that overlap no segment; further events in a segment do not count as such.
    - Accuracy: at step/2, 3 step/2, ..., the event's label against the segment's; both may be none.

    Args:
        recordings, found: annotated recordings, and the events of each; what lies beyond its end does not count.
        step: seconds between two moments, above 0.
        overlaps: those to give F1 for, above 0 and at most 1.

    Raises:
        ConfigError: `step` or `overlaps` out of range.
        ValueError: another number of recordings than lists of events.
    """
    if not step > 0 or not np.isfinite(step):
        raise ConfigError(f"the grid's step must be a time above 0 s, got {step:g}")
    if not all(0 < overlap <= 1 for overlap in overlaps):
        raise ConfigError(f"overlaps must be above 0 and at most 1, got {', '.join(f'{o:g}' for o in overlaps)}")
    seconds = sum(recording.seconds for recording in recordings)
    counts: dict[str, _Counts] = {}
    quiet, everything = _Counts(overlaps), _Counts(overlaps)
    for recording, beyond in zip(recordings, found, strict=True):
        inside = (event for event in beyond if event.start < recording.seconds)
        events = [replace(event, end=min(event.end, recording.seconds)) for event in inside]
        names = sorted({s.label for s in recording.segments} | {e.label for e in events})
        for name in names:
            segments = [s for s in recording.segments if s.label == name]
            ordered = sorted((e for e in events if e.label == name), key=lambda e: (e.start, e.end))
            for each in (counts.setdefault(name, _Counts(overlaps)), everything):
                each.add(segments, ordered)
        moments = int(np.ceil(recording.seconds / step - 0.5 - 1e-9))
        truth = _painted(recording.segments, moments, step, names)
        seen = _painted(events, moments, step, names)
        for number, own in [(-1, quiet), *((i, counts[name]) for i, name in enumerate(names))]:
            for each in (own, everything):
                each.moments += int((truth == number).sum())
                each.right += int(((truth == number) & (seen == number)).sum())
    return SegmentReport(
        overall=replace(everything.measures(seconds), seconds=seconds),
        labels={name: counts[name].measures(seconds) for name in sorted(counts)},
        quiet=quiet.measures(seconds).accuracy,
        quiet_seconds=max(seconds - everything.seconds, 0.0),
        recordings=len(recordings),
        step=step,
    )


class _Counts:
    """What is summed over recordings for one label."""

    def __init__(self, overlaps: Sequence[float]):
        self.hits = dict.fromkeys(overlaps, 0)
        self.segments = self.events = self.alarms = self.moments = self.right = 0
        self.seconds = 0.0
        self.delays: list[float] = []

    def add(self, segments: Sequence[Segment], events: Sequence[Detection]) -> None:
        """One recording's segments and events of this label, each in order of time."""
        self.segments += len(segments)
        self.events += len(events)
        self.seconds += sum(s.end - s.start for s in segments)
        for overlap in self.hits:
            self.hits[overlap] += _hits(segments, events, overlap)
        taken: set[int] = set()
        for event in events:
            touched = [i for i, s in enumerate(segments) if min(s.end, event.end) - max(s.start, event.start) > 1e-9]
            self.alarms += not touched
            if free := [i for i in touched if i not in taken]:
                taken.add(free[0])
                self.delays.append(event.announced - segments[free[0]].start)

    def measures(self, seconds: float) -> Measures:
        both = self.segments + self.events
        return Measures(
            segments=self.segments,
            events=self.events,
            f1={overlap: 2 * hits / both if both else None for overlap, hits in self.hits.items()},
            detected=len(self.delays) / self.segments if self.segments else None,
            delay_mean=mean(self.delays) if self.delays else None,
            delay_median=median(self.delays) if self.delays else None,
            false_alarms=self.alarms,
            false_alarms_per_hour=self.alarms / (seconds / 3600) if seconds else 0.0,
            accuracy=self.right / self.moments if self.moments else None,
            seconds=self.seconds,
        )


def _hits(segments: Sequence[Segment], events: Sequence[Detection], overlap: float) -> int:
    taken: set[int] = set()
    for event in events:
        shared = [_iou(segment, event) for segment in segments]
        best = int(np.argmax(shared)) if shared else -1
        if best >= 0 and best not in taken and shared[best] >= overlap - 1e-9:
            taken.add(best)
    return len(taken)


def _iou(one: Segment, other: Detection) -> float:
    """Intersection over union of two stretches of time."""
    shared = max(0.0, min(one.end, other.end) - max(one.start, other.start))
    union = one.end - one.start + other.end - other.start - shared
    return shared / union if union > 0 else 0.0


def _painted(parts: Sequence[Segment | Detection], moments: int, step: float, names: Sequence[str]) -> np.ndarray:
    """The label's number at each moment (moments,), -1 for nothing; where two overlap, the one that began later."""
    grid = np.full(moments, -1)
    when = (np.arange(moments) + 0.5) * step
    for part in sorted(parts, key=lambda p: p.start):
        grid[(when >= part.start - 1e-9) & (when < part.end - 1e-9)] = names.index(part.label)
    return grid
