"""Measures of events in recordings: tables worked by hand, and sums over tenths of seconds in sets."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from statistics import median

import numpy as np
import pytest

from teinet.data.lists.annotations import Recording, Segment
from teinet.detection.events import Event, EventDetector, Rules
from teinet.detection.recording import events_of
from teinet.errors import ConfigError
from teinet.evaluation.segments import Detection, detections, measure


def recording(seconds: float, *segments: tuple[str, float, float], path: str = "a.mp4") -> Recording:
    parts = tuple(Segment(label=a, start=b, end=c) for a, b, c in segments)
    return Recording(path=path, seconds=seconds, segments=parts)


def found(*events: tuple[str, float, float, float]) -> list[Detection]:
    return [Detection(label=a, start=b, end=c, announced=d) for a, b, c, d in events]


def test_a_table_worked_by_hand():
    """Ten seconds; wave 1-3, clap 4-6, wave 7-9.

    Found: wave 1.5-3 (overlap 1.5/2), clap 5.5-7.5 (0.5/3.5 = 0.143), wave 7.5-8 (0.5/2), jump 9-10 (none).
    Hits: at 0.1 three of them, at 0.25 the two waves, at 0.5 the first wave. F1 = 2 hits / (3 + 4).
    """
    truth = recording(10, ("wave", 1, 3), ("clap", 4, 6), ("wave", 7, 9))
    events = found(("wave", 1.5, 3, 2), ("clap", 5.5, 7.5, 6), ("wave", 7.5, 8, 8), ("jump", 9, 10, 9.5))
    report = measure([truth], [events], step=0.5)
    overall = report.overall
    assert overall.f1 == {0.1: pytest.approx(6 / 7), 0.25: pytest.approx(4 / 7), 0.5: pytest.approx(2 / 7)}
    assert (overall.segments, overall.events, overall.seconds) == (3, 4, 10)
    assert overall.detected == 1 and overall.false_alarms == 1 and overall.false_alarms_per_hour == 360
    assert overall.delay_mean == pytest.approx((1 + 2 + 1) / 3) and overall.delay_median == 1
    # moments  .25 .75 | 1.25 .. 2.75 | 3.25 .75 | 4.25 .. 5.75 | 6.25 .75 | 7.25 .. 8.75 | 9.25 .75
    # right       2    |  0 1 1 1     |    2     |  0 0 0 1     |    0     |  0 1 0 0     |    0
    assert overall.accuracy == pytest.approx(9 / 20)
    assert report.quiet == pytest.approx(4 / 8) and report.quiet_seconds == 4
    assert set(report.labels) == {"wave", "clap", "jump"}
    wave, jump = report.labels["wave"], report.labels["jump"]
    assert wave.f1 == {0.1: 1, 0.25: 1, 0.5: 0.5} and wave.accuracy == pytest.approx(4 / 8) and wave.seconds == 4
    assert jump.f1[0.1] == 0 and jump.detected is None and jump.accuracy is None and jump.false_alarms == 1


def test_nothing_found_nothing_there_and_no_recording():
    silent = measure([recording(6, ("a", 1, 3))], [[]], step=1).overall
    assert silent.detected == 0 and silent.f1[0.1] == 0 and silent.delay_mean is None and silent.accuracy == 4 / 6
    empty = measure([recording(6)], [[]]).overall
    assert empty.f1[0.1] is None and empty.detected is None and empty.accuracy == 1 and empty.false_alarms == 0
    alarm = measure([recording(1800)], [found(("a", 1, 2, 1.5))]).overall
    assert alarm.false_alarms_per_hour == 2 and alarm.f1[0.1] == 0 and alarm.detected is None
    none = measure([], []).overall
    assert none.accuracy is None and none.false_alarms_per_hour == 0 and none.seconds == 0


def test_counts_of_recordings_are_summed_and_labels_do_not_meet_across_them():
    truth = [recording(10, ("a", 0, 5)), recording(10, ("b", 0, 5), path="b.mp4")]
    report = measure(truth, [found(("b", 0, 5, 1)), found(("b", 0, 5, 1))])
    assert report.overall.f1[0.5] == pytest.approx(0.5) and report.recordings == 2
    assert report.labels["b"].false_alarms_per_hour == 180


@pytest.mark.parametrize("step", [0, float("nan")])
def test_a_grid_needs_a_step(step):
    with pytest.raises(ConfigError, match="must be above 0"):
        measure([recording(1)], [[]], step=step)
    with pytest.raises(ConfigError, match="overlaps are"):
        measure([recording(1)], [[]], overlaps=(0.0,))


def brute(truth: list[tuple[int, list]], found_: list[list], overlap: Fraction) -> dict:
    """The same from sets of tenths of a second: (length, [(label, first, after last)]) and [(label, .., .., known)]."""
    hits = misses = false = alarms = right = total = 0
    delays, segments = [], 0
    for (length, parts), events in zip(truth, found_):
        sets = [(label, set(range(a, b))) for label, a, b in parts]
        segments += len(sets)
        used, spent = [False] * len(sets), [False] * len(sets)
        for label, a, b, known in sorted(events, key=lambda e: (e[1], e[2])):
            own = set(range(a, b))
            ratio = [Fraction(len(own & s), len(own | s)) if name == label else Fraction(-1) for name, s in sets]
            best = max(range(len(sets)), key=lambda i: (ratio[i], -i), default=None)
            if best is not None and ratio[best] >= overlap and not used[best]:
                used[best], hits = True, hits + 1
            else:
                false += 1
            meets = [i for i, (name, s) in enumerate(sets) if name == label and own & s]
            alarms += not meets
            for i in meets:
                if not spent[i]:
                    spent[i] = True
                    delays.append(Fraction(known - parts[i][1], 10))
                    break
        misses += used.count(False)
        for tenth in range(length):
            one = next((name for name, s in sets if tenth in s), None)
            other = next((label for label, a, b, _ in events if a <= tenth < b), None)
            right, total = right + (one == other), total + 1
    both = 2 * hits + false + misses
    return {
        "f1": Fraction(2 * hits, both) if both else None,
        "detected": Fraction(len(delays), segments) if segments else None,
        "delay_mean": sum(delays) / len(delays) if delays else None,
        "delay_median": median(delays) if delays else None,
        "false_alarms": alarms,
        "accuracy": Fraction(right, total),
    }


def drawn(rng: np.random.Generator, length: int) -> list[tuple[str, int, int]]:
    """Parts of 0..length that do not overlap; some touch, some do not."""
    cuts = sorted(rng.choice(length + 1, size=min(length, int(rng.integers(0, 9))), replace=False).tolist())
    return [(str(rng.choice(["a", "b", "c"])), a, b) for a, b in pairwise(cuts) if rng.random() < 0.7]


@pytest.mark.parametrize("seed", range(12))
def test_what_sets_of_tenths_of_a_second_give(seed):
    rng = np.random.default_rng(seed)
    lengths = [int(n) for n in rng.integers(5, 60, int(rng.integers(1, 4)))]
    truth = [(length, drawn(rng, length)) for length in lengths]
    events = [[(*part, part[1] + int(rng.integers(0, 5))) for part in drawn(rng, length)] for length in lengths]
    report = measure(
        [recording(n / 10, *((label, a / 10, b / 10) for label, a, b in parts)) for n, parts in truth],
        [found(*((label, a / 10, b / 10, k / 10) for label, a, b, k in each)) for each in events],
        step=0.1,
    )
    for overlap in (0.1, 0.25, 0.5):
        want = brute(truth, events, Fraction(str(overlap)))
        got = vars(report.overall) | {"f1": report.overall.f1[overlap]}
        for name, value in want.items():
            assert got[name] == (None if value is None else pytest.approx(float(value))), (name, overlap)


def points(times) -> np.ndarray:
    """Scores of one frame each."""
    return np.stack([times, times], 1)


def test_an_event_lasts_until_the_next_score_and_is_known_when_events_says_begin():
    names, rules = ["a", "b"], Rules(threshold=0.6, off_threshold=0.4, min_duration=0.5)
    times = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])
    scores = np.array([[0.1, 0.9]] * 2 + [[0.9, 0.1]] * 4 + [[0.5, 0.5]] + [[0.1, 0.1]] * 2)
    events, begun, ended = EventDetector(names, rules), [], []
    for time, row in zip(times, scores):
        for change in events.update((time, time), row):
            (begun if change.type == "begin" else ended).append((time, change.event))
    (event,) = [event for _, event in ended]
    assert (event.label, event.start, event.end) == ("a", 0.4, 1.2)
    (found_,) = detections([event], points(times), min_duration=0.5)
    assert (found_.start, found_.end) == (0.4, 1.4)
    assert found_.announced == begun[0][0] == 1.0
    (late,) = detections([event], points(times) + np.array([-0.35, 0.35]), min_duration=0.5)  # the same middles
    assert late.announced == pytest.approx(1.35) and late.end == pytest.approx(found_.end)


def test_the_last_event_and_one_before_a_gap_last_as_long_as_between_two_scores():
    event = Event(label="a", start=0.0, end=0.4, score=1, peak=1)
    (last,) = detections([event], points([0.0, 0.2, 0.4]), min_duration=0)
    (gap,) = detections([event], points([0.0, 0.2, 0.4, 9.0, 9.2]), min_duration=0)
    assert last.end == gap.end == pytest.approx(0.6) and last.announced == 0
    (alone,) = detections([Event(label="a", start=3.0, end=3.0, score=1, peak=1)], points([3.0]), min_duration=0)
    assert (alone.start, alone.end, alone.announced) == (3.0, 3.0, 3.0)


def test_windows_at_both_ends_of_a_recording():
    """Windows of 0.6 s every 0.4 s: one thing goes on from the first frame, known at 0.6 s, one up to the last."""
    starts = np.array([0.0, 0.4, 0.8, 1.2])
    intervals = np.stack([starts, starts + 0.6], 1)
    scores = np.array([[0.9, 0.1], [0.2, 0.2], [0.2, 0.2], [0.1, 0.9]])
    events = events_of(intervals, scores, starts == 0, ["a", "b"], Rules(min_duration=0.3))
    assert [(e.label, round(e.start, 6), round(e.end, 6)) for e in events] == [("a", 0.0, 0.3), ("b", 1.5, 1.8)]
    found_ = detections(events, intervals, min_duration=0.3)
    said = [(d.label, *(round(second, 6) for second in (d.start, d.end, d.announced))) for d in found_]
    assert said == [("a", 0.0, 0.7, 0.6), ("b", 1.5, 2.2, 1.8)]


def test_what_lies_beyond_a_recordings_end_does_not_count():
    truth = [recording(10.0, ("a", 8.0, 10.0))]
    report = measure(truth, [found(("a", 9.0, 11.0, 9.0))], overlaps=(0.5,))
    assert report.overall.f1 == {0.5: 1.0}  # one second of two; with what lies beyond it would be one of three
    report = measure(truth, [found(("a", 8.0, 9.0, 9.0), ("b", 10.2, 11.0, 10.5))])
    assert (report.overall.events, report.overall.false_alarms) == (1, 0) and list(report.labels) == ["a"]


def test_where_times_run_backwards_each_stretch_has_its_own():
    """0 to 1 s, then 0.5 to 1.3 s, in steps of 0.2: an event lasts to the next score of its own stretch."""
    times = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.5, 0.7, 0.9, 1.1, 1.3])
    events = [Event(label=a, start=s, end=e, score=1, peak=1) for a, s, e in
              (("a", 0.4, 0.8), ("b", 1.0, 1.0), ("c", 0.7, 0.9), ("d", 1.1, 1.3))]  # fmt: skip
    said = [(d.label, d.end, d.announced) for d in detections(events, points(times), min_duration=0.2)]
    assert said == [
        ("a", pytest.approx(1.0), pytest.approx(0.6)),
        ("b", pytest.approx(1.2), pytest.approx(1.0)),  # the last of its stretch
        ("c", pytest.approx(1.1), pytest.approx(0.9)),
        ("d", pytest.approx(1.5), pytest.approx(1.3)),
    ]
