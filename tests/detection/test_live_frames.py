"""From timestamps to seconds, by hand: sources that jump, leave timestamps out, or have none; showing recordings."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.detection.live_frames import LiveClock, RecordedClock, Showing


class Hand:
    """A clock that is moved by hand."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def live(hand=None, **options):
    return LiveClock(**{"gap": 2.0, "apart": 0.04, "since": hand or Hand()} | options)


def test_a_live_clock_runs_on_from_the_first_frame():
    clock = live(Hand(7.0))
    assert [clock.second(stamp) for stamp in (100.0, 100.5)] == [(7.0, False), (7.5, False)]


def test_a_missing_timestamp_follows_the_spacing_of_its_neighbours():
    """Every fifth is missing of a source of 10 frames a second that says it had 25, and our clock stands still."""
    clock = live(Hand(3.0))
    found = [clock.second(None if i % 5 == 4 else 50 + i / 10) for i in range(20)]
    assert [second for second, _ in found] == pytest.approx(3 + np.arange(20) / 10)
    assert not any(jumped for _, jumped in found)


def test_several_missing_ones_tell_the_spacing_too():
    clock = live()
    seconds = [clock.second(stamp)[0] for stamp in (0.0, 0.1, None, None, 0.4, None)]
    assert seconds == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_frame_that_comes_sooner_than_was_thought_is_still_later_than_the_one_before():
    clock = live()
    found = [clock.second(stamp) for stamp in (0.0, 0.5, None, 0.6, 1.2)]
    assert [second for second, _ in found] == pytest.approx([0, 0.5, 1.0, 1.001, 1.2])
    assert not any(jumped for _, jumped in found)


def test_timestamps_that_stay_away_give_way_to_the_time_of_arrival():
    hand = Hand()
    clock = live(hand, gap=0.25, apart=0.1)
    assert [clock.second(stamp)[0] for stamp in (5.0, None, None)] == pytest.approx([0, 0.1, 0.2])
    hand.now = 9.0
    assert clock.second(None)[0] == 9.0


@pytest.mark.parametrize("to", [-50.0, 0.0, 50.0])
def test_a_jump_is_said_and_set_by_our_clock(to):
    hand = Hand()
    clock = live(hand)
    clock.second(100.0), clock.second(100.5)
    hand.now = 0.7
    assert clock.second(100.5 + to) == (0.7, True)
    assert clock.second(101.0 + to) == (pytest.approx(1.2), False)


def test_a_connection_goes_on_after_the_one_before():
    """It had sent in a burst, to second 30, what our clock saw within the first."""
    clock = live(Hand(1.0), last=30.0)
    assert [clock.second(stamp)[0] for stamp in (0.0, 0.1)] == pytest.approx([30.001, 30.101])


def test_a_recording_counts_from_its_beginning_and_keeps_its_jumps():
    clock = RecordedClock(10.0, 0.1)
    found = [clock.second(stamp) for stamp in (10.0, None, 70.0, 10.5)]
    assert found == [(0.0, False), (0.1, False), (60.0, False), (0.5, False)]
    assert RecordedClock(10.0, 0.1).second(None) == (0.0, False)


@pytest.mark.parametrize(
    ("seconds", "due"),
    [
        ([0.0, 0.1, 1.9, 2.0], [0.0, 0.1, 1.9, 2.0]),
        ([0.0, 0.1, 5000.0, 5000.1], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.1, 0.2, 0.0, 0.1, 0.2], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([3.0, 2.0, 1.0], [0.0, 0.1, 0.2]),
        ([5000.0, 5000.3], [0.0, 0.3]),
        ([0.5, 0.6], [0.5, 0.6]),
    ],
)
def test_where_times_jump_a_recording_is_shown_on_from_there(seconds, due):
    showing = Showing(100.0, gap=2.0, apart=0.1)
    assert [showing.due(second) - 100 for second in seconds] == pytest.approx(due)
