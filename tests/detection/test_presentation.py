"""The clock of a live source, in made-up seconds: who waits, for how long, and what is followed."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.detection.presentation import PresentationClock


def played(times, arrivals) -> tuple[np.ndarray, np.ndarray, PresentationClock]:
    """By how many seconds each frame is early, the seconds at which each is due at its arrival, and the clock."""
    clock, early, due = PresentationClock(), [], []
    for time, arrival in zip(times, arrivals, strict=True):
        early.append(clock.arrived(time, arrival))
        due.append(time + clock.shift)
    return np.array(early), np.array(due), clock


def bursts(seconds: float, segment: float, rate: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Times and arrivals of a stream whose segments are sent, a millisecond a frame, when their last frame is there."""
    times = np.arange(seconds * rate) / rate
    segments = np.floor(times / segment + 1e-9)
    return times, (segments + 1) * segment + (times - segments * segment) * rate / 1000 - segment


def test_even_frames_are_due_as_they_arrive():
    times = np.arange(500) / 25
    early, _, clock = played(times, times)
    assert np.allclose(early, 0) and clock.shift == pytest.approx(0) and clock.lateness == pytest.approx(0)


@pytest.mark.parametrize("segment", [1.0, 4.0, 10.0])
def test_segments_are_played_through_without_a_gap(segment):
    times, arrivals = bursts(120, segment)
    early, due, clock = played(times, arrivals)
    assert np.diff(due) == pytest.approx(0.1, abs=0.02)
    assert early.min() > -0.02 and segment - 0.2 < early.max() < segment
    assert clock.lateness < 0.02


@pytest.mark.parametrize("seconds", [2.0, 8.0])
def test_a_camera_that_sends_its_last_seconds_first_is_without_delay_soon(seconds):
    times = np.arange(30 * 25) / 25
    arrivals = np.maximum(0.001 * np.arange(len(times)), times - seconds)
    early, _, _ = played(times, arrivals)
    assert early.max() == pytest.approx(seconds, abs=0.3)
    assert early[arrivals > 2.2].max() < 0.01


def test_segments_of_which_some_came_first_have_the_delay_of_one():
    times, arrivals = bursts(120, 4.0)
    arrivals = np.maximum(arrivals - 8, 0.001 * np.arange(len(times)))  # three segments at first
    early, _, _ = played(times, arrivals)
    assert early.max() > 11.5 and early[arrivals > 20.5].max() < 4.0 and early[arrivals > 20.5].min() > -0.02


@pytest.mark.parametrize("rate", [0.999, 1.001])
def test_a_clock_that_runs_fast_or_slow_is_followed(rate):
    arrivals = np.arange(3600 * 4) / 4
    early, due, _ = played(arrivals * rate, arrivals)
    assert np.abs(due - arrivals).max() < 0.01 and np.abs(early).max() < 0.01


def test_a_late_burst_is_due_at_once_and_the_model_may_be_as_late():
    times = np.arange(400) / 10
    arrivals = np.where((times >= 10) & (times < 15), 15, times)
    early, due, clock = played(times[:200], arrivals[:200])
    assert early.min() == pytest.approx(-5) and due == pytest.approx(times[:200])
    assert clock.lateness == pytest.approx(5)
    _, _, clock = played(times, arrivals)
    assert clock.lateness == pytest.approx(0)


def test_what_is_sent_as_fast_as_possible_keeps_its_times():
    """A minute in four seconds, then the next in real time."""
    times = np.arange(1200) / 10
    arrivals = np.where(times < 60, times / 15, times - 56)
    early, due, _ = played(times[:600], arrivals[:600])
    assert due == pytest.approx(times[:600])
    early, _, _ = played(times, arrivals)
    assert early[-1] < 0.1
