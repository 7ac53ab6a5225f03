"""Events from scores, on tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.detection.events import EventDetector, Rules
from teinet.errors import ConfigError

NAMES = ["rest", "wave", "clap"]


def run(rows, rules=None, step=0.25):
    """Changes as (type, label, start, end); rows are the scores of wave and clap, the rest is rest's."""
    events = EventDetector(NAMES, rules or Rules(background=("rest",)))
    found = []
    for k, (wave, clap) in enumerate(rows):
        found += events.update((k * step, k * step), np.array([1 - wave - clap, wave, clap]))
    found += events.finish()
    return [(c.type, c.event.label, c.event.start, c.event.end) for c in found], found


def test_two_thresholds_and_a_least_length():
    #         0    .25   .5   .75   1    1.25  1.5  1.75
    rows = [0.1, 0.45, 0.6, 0.4, 0.55, 0.36, 0.3, 0.45]
    told, found = run([(r, 0.0) for r in rows])
    # begins at 0.5 s, the first at or above 0.5; is known to be one at 1.0; its last frame at or above 0.35 is at 1.25
    assert told == [("begin", "wave", 0.5, 1.0), ("end", "wave", 0.5, 1.25)]
    assert found[-1].event.score == pytest.approx((0.6 + 0.4 + 0.55 + 0.36) / 4)
    assert found[-1].event.peak == pytest.approx(0.6)


def test_what_is_too_short_is_no_event():
    assert run([(0.1, 0), (0.9, 0), (0.9, 0), (0.1, 0)])[0] == []
    assert len(run([(0.1, 0), (0.9, 0), (0.9, 0), (0.9, 0), (0.1, 0)])[0]) == 2
    assert len(run([(0.1, 0), (0.9, 0), (0.1, 0)], Rules(min_duration=0, background=("rest",)))[0]) == 2


def test_another_class_takes_over_where_it_passes():
    rows = [(0.8, 0.1)] * 3 + [(0.45, 0.5)] * 3
    told, _ = run(rows)
    assert told == [
        ("begin", "wave", 0.0, 0.5),
        ("end", "wave", 0.0, 0.5),
        ("begin", "clap", 0.75, 1.25),
        ("end", "clap", 0.75, 1.25),
    ]


def test_at_the_ends_of_a_stream_an_event_reaches_its_first_and_last_frame():
    """Windows of 0.75 s; a stream of three, then one that begins at 9 s."""
    events, told = EventDetector(NAMES, Rules(min_duration=0.3, background=("rest",))), []
    for first, wave in ((0.0, 0.9), (0.5, 0.1), (1.0, 0.9), (9.0, 0.1), (9.5, 0.9)):
        told += events.update((first, first + 0.75), np.array([1 - wave, wave, 0]), reset=first in (0.0, 9.0))
    told += events.finish()
    assert [(c.type, c.event.start, c.event.end) for c in told] == [
        ("begin", 0.0, 0.375),  # from its first frame on; the middle is where its scores belong
        ("end", 0.0, 0.375),
        ("begin", 1.375, 1.75),  # long enough with the frames up to its stream's end alone
        ("end", 1.375, 1.75),
        ("begin", 9.875, 10.25),
        ("end", 9.875, 10.25),
    ]


def test_a_label_that_means_nothing_makes_no_event():
    assert run([(0.1, 0.1)] * 10)[0] == []
    assert run([(0.1, 0.1)] * 10, Rules())[0][0][:2] == ("begin", "rest")


def test_what_is_under_way_can_be_asked_for():
    events = EventDetector(NAMES, Rules(min_duration=0.5))
    assert events.current is None
    for k in range(3):
        events.update((k / 4, k / 4), np.array([0.0, 1.0, 0.0]))
        assert (events.current is not None) == (k == 2)
    assert events.current.to_dict() == {"label": "wave", "start": 0.0, "end": 0.5, "score": 1.0, "peak": 1.0}


def test_rules_that_cannot_hold_are_refused():
    for options, words in [
        ({"threshold": 0.3, "off_threshold": 0.4}, "it must be 0 to the threshold, 0.3"),
        ({"min_duration": -1}, "at least 0 s"),
        ({"min_duration": float("nan")}, "finite"),
    ]:
        with pytest.raises(ConfigError, match=words):
            Rules(**options)
    with pytest.raises(ConfigError, match="Did you mean 'rest'"):
        EventDetector(NAMES, Rules(background=("rset",)))


def test_the_off_threshold_follows_the_threshold():
    assert [Rules(threshold=t).off_threshold for t in (0.5, 0.2)] == [0.35, 0.14]
