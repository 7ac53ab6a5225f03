"""Frames by their times: the interval is kept at any rate of the source; gaps and times that run backwards reset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teinet.detection.sampler import FrameSampler
from teinet.errors import ConfigError


def taken(sampler: FrameSampler, times) -> list[float]:
    return [t for t in times if sampler.judge(t) != "skip"]


@pytest.mark.parametrize(("rate", "frame_interval", "each"), [(30, 0.1, 3), (25, 0.2, 5), (8, 0.125, 1), (60, 0.5, 30)])
def test_whole_multiples_are_taken_exactly(rate, frame_interval, each):
    times = np.arange(300) / rate
    assert taken(FrameSampler(frame_interval), times) == times[::each].tolist()


@settings(deadline=None)
@given(st.floats(5, 120), st.floats(0.04, 0.5), st.integers(0, 1000))
@example(rate=77.4921875, frame_interval=0.27126115934657974, seed=272)
def test_the_average_keeps_the_spacing(rate, frame_interval, seed):
    jitter = np.random.default_rng(seed).uniform(-0.3, 0.3, 2000) / rate
    times = np.arange(2000) / rate + jitter
    kept = taken(FrameSampler(frame_interval), times)
    apart = np.diff(kept)
    if frame_interval * rate >= 2:
        assert abs(apart.mean() / frame_interval - 1) < 0.02 or len(kept) < 100
        # of frames 0.4 to 1.6 of their interval apart one is taken 0.8 early at most, or 1.4 late
        assert np.abs(apart - frame_interval).max() < 2.2 / rate
    if frame_interval * rate < 0.35:  # the source is slower: every frame
        assert len(kept) == len(times)


def test_changing_the_rate_changes_no_spacing():
    times = np.concatenate([np.arange(0, 10, 1 / 30), np.arange(10, 20, 1 / 12), np.arange(20, 30, 1 / 50)])
    kept = np.array(taken(FrameSampler(0.25), times))
    for low, high in ((0, 10), (10, 20), (20, 30)):
        assert abs(((kept >= low) & (kept < high)).sum() - 40) <= 1


def test_after_a_pause_frames_are_not_made_up_for():
    times = [*np.arange(0, 1, 0.02), *np.arange(2.5, 3.5, 0.02)]
    kept = np.array(taken(FrameSampler(0.1), times))
    assert abs((kept >= 2.5).sum() - 10) <= 1


@pytest.mark.parametrize(
    ("times", "where"), [([0, 0.1, 3.0, 3.1], 3.0), ([0, 0.1, 0.2, 0.05, 0.15], 0.05), ([5, 5], 5)]
)
def test_gaps_and_times_that_run_backwards_restart(times, where):
    sampler = FrameSampler(0.1)
    verdicts = [sampler.judge(t) for t in times]
    assert verdicts[0] == "reset" and verdicts.count("reset") == 2
    assert times[1:][verdicts[1:].index("reset")] == where
    assert sampler.num_taken + sampler.num_skipped == len(times)


def test_a_discontinuity_is_taken_at_once_and_counts_as_no_gap():
    sampler = FrameSampler(0.5)
    assert [sampler.judge(t, t == 0.7) for t in (0.0, 0.6, 0.7, 1.0, 1.2)] == ["reset", "take", "reset", "skip", "take"]


def test_what_resets_is_counted_but_for_the_first_frame_of_a_source():
    sampler = FrameSampler(0.5)
    for time, size in ((0.0, (4, 3)), (0.1, (4, 3)), (0.2, (3, 4)), (9.0, (3, 4))):
        sampler.judge(time, size=size)
    assert (sampler.num_resizes, sampler.num_resets, sampler.size) == (1, 1, (3, 4))
    sampler.restart()
    assert sampler.judge(9.1, size=(8, 6)) == "reset"
    assert (sampler.num_resizes, sampler.num_resets, sampler.num_taken) == (1, 1, 4)


def test_a_gap_follows_a_wide_spacing():
    sampler = FrameSampler(5.0)
    assert taken(sampler, np.arange(9) * 2.5) == [0, 5, 10, 15, 20]
    assert sampler.judge(20 + 15.1) == "reset"


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_no_spacing_and_no_time_are_refused(bad):
    with pytest.raises(ConfigError, match="frame_interval"):
        FrameSampler(bad)
    if not np.isfinite(bad):
        with pytest.raises(ConfigError, match="the time of a frame"):
            FrameSampler(0.1).judge(bad)
