"""Measures of the events found in recordings against annotated segments.

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
    """A detected event as it is measured: [`start`, `end`), reported at `announced`, in seconds."""

    label: str
    start: float
    end: float
    announced: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The measures of one label, or of all labels together; see `measure`.

    Args:
        segments, events: the numbers of annotated segments and of detected events.
        f1: F1 score by the required overlap, 0 to 1; None if there are neither segments nor events.
        detected: share of the segments that are detected, 0 to 1; None without segments.
        delay_mean, delay_median: seconds from the start of a detected segment until its event is announced, negative
            if it is announced before the segment; None if no segment is detected.
        false_alarms_per_hour: per hour of recording.
        accuracy: share of the time steps with the right label, 0 to 1; for one label, of the steps in its segments;
            None if there are no such steps.
        seconds: length of the recordings; for one label, of its segments.
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
        """Return JSON values, rounded to four decimals."""
        values = vars(self) | {"f1": {f"{k:g}": _rounded(v) for k, v in self.f1.items()}}
        return {name: _rounded(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """The measures of all recordings.

    Args:
        overall: of all labels together; its accuracy includes the time steps outside all segments.
        labels: of each label with segments or events.
        quiet, quiet_seconds: accuracy outside all segments (None if there is no such time), and its length in seconds.
        step: seconds between time steps.
    """

    overall: Measures
    labels: dict[str, Measures]
    quiet: float | None
    quiet_seconds: float
    recordings: int
    step: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; "background" is the time outside all segments."""
        return {
            "recordings": self.recordings,
            "step": self.step,
            "overall": self.overall.to_dict(),
            "labels": {name: measures.to_dict() for name, measures in self.labels.items()},
            "background": {"accuracy": _rounded(self.quiet), "seconds": _rounded(self.quiet_seconds)},
        }


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def detections(events: Sequence[Event], intervals: np.ndarray, *, min_duration: float) -> list[Detection]:
    """Return the end of each event of a timeline, and the time at which it is announced.

    A score is that of the middle of its frames and holds until the next one, so an event lasts until the score after
    its last one (after the very last score, for the median interval). It is announced when `EventDetector` says
    "begin": with the last frame of the first score at least `min_duration` seconds after its start, or of its last
    score if the recording ends before. Computing time is not counted.

    Args:
        events: `Timeline.events`, in order.
        intervals: `Timeline.intervals`, (n, 2) seconds of the first and last frame of each score; falls at a restart.
        min_duration: seconds, as in the rules that the events were detected by.
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
    """Return the index of the ascending stretch of scores with the event; the previous event ended at `before`."""
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

    - F1: in order of time, an event is a true positive if its overlap (intersection over union) with the segment that
      it overlaps most reaches the required one, and no earlier event matched that segment; other events are false
      positives, other segments false negatives.
    - Detected, delay: a segment is detected by the first event that overlaps it at all and detects no other segment.
    - False alarms: events that overlap no segment; further events in one segment do not count.
    - Accuracy: at step/2, 3 step/2, ..., the label of the event equals that of the segment, or there is neither.

    Args:
        recordings, found: annotated recordings, and the events of each; events after the end do not count.
        step: seconds between time steps, above 0.
        overlaps: required overlaps to compute F1 for, above 0 and at most 1.

    Raises:
        ConfigError: `step` or `overlaps` out of range.
        ValueError: the numbers of recordings and of lists of events differ.
    """
    if not step > 0 or not np.isfinite(step):
        raise ConfigError(f"the time step is {step:g} s; it must be above 0")
    if not all(0 < overlap <= 1 for overlap in overlaps):
        raise ConfigError(f"overlaps are {', '.join(f'{o:g}' for o in overlaps)}; each must be above 0 and at most 1")
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
        truth = _labels_at(recording.segments, moments, step, names)
        seen = _labels_at(events, moments, step, names)
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
    """Counts of one label, summed over recordings."""

    def __init__(self, overlaps: Sequence[float]):
        self.hits = dict.fromkeys(overlaps, 0)
        self.segments = self.events = self.alarms = self.moments = self.right = 0
        self.seconds = 0.0
        self.delays: list[float] = []

    def add(self, segments: Sequence[Segment], events: Sequence[Detection]) -> None:
        """Add the segments and events of this label in one recording, each in order of time."""
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
    """Return the intersection over union of two intervals."""
    shared = max(0.0, min(one.end, other.end) - max(one.start, other.start))
    union = one.end - one.start + other.end - other.start - shared
    return shared / union if union > 0 else 0.0


def _labels_at(parts: Sequence[Segment | Detection], moments: int, step: float, names: Sequence[str]) -> np.ndarray:
    """Return the index of the label at each time step (moments,), -1 for none; if two overlap, of the later start."""
    grid = np.full(moments, -1)
    when = (np.arange(moments) + 0.5) * step
    for part in sorted(parts, key=lambda p: p.start):
        grid[(when >= part.start - 1e-9) & (when < part.end - 1e-9)] = names.index(part.label)
    return grid
