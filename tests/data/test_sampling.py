"""The frames that SPEC's sampling rule names: hand-worked tables and the rule's properties."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teinet.data.lists.rows import Row, to_clips
from teinet.data.sampling import Sampling, typical_spacing
from teinet.errors import ConfigError
from tests import miniatures

videos = st.integers(1, 2000)
lengths = st.integers(1, 32)
clips = st.integers(1, 12)
kinds = st.sampled_from(["segments", "dense"])


def test_clips_share_each_segment_evenly():
    # n/T = 10 frames a segment, 5 clips: fractions 0.1 0.3 0.5 0.7 0.9 of it
    assert Sampling(num_frames=2).test(20, 5).tolist() == [[1, 11], [3, 13], [5, 15], [7, 17], [9, 19]]


@given(videos, lengths, clips)
def test_segments_follow_the_formula_exactly(n, num_frames, num_clips):
    rule = [
        [math.floor((i + (j + Fraction(1, 2)) / num_clips) * n / num_frames) for i in range(num_frames)]
        for j in range(num_clips)
    ]
    assert Sampling(num_frames=num_frames).test(n, num_clips).tolist() == rule


@given(videos, lengths, clips, kinds, st.integers(1, 100), st.integers(0, 2**32))
def test_indices_are_sorted_and_in_range(n, num_frames, num_clips, strategy, window, seed):
    sampling = Sampling(num_frames=num_frames, strategy=strategy, window=window)
    test, train = sampling.test(n, num_clips), sampling.train(n, np.random.default_rng(seed))
    assert test.shape == (num_clips, num_frames) and train.shape == (num_frames,)
    for indices in (*test, train):
        assert (np.diff(indices) >= 0).all() and indices[0] >= 0 and indices[-1] <= n - 1
    if strategy == "dense":
        assert train[-1] - train[0] < window


@given(st.integers(0, 50), lengths, kinds)
def test_odd_segments_are_symmetric_in_time(k, num_frames, strategy):
    """The clip played backwards shows the same frames: what the reversed pairs of motion_pairs rest on."""
    n = (2 * k + 1) * num_frames
    indices = Sampling(num_frames=num_frames, strategy=strategy, window=n).test(n)[0]
    np.testing.assert_array_equal(indices, n - 1 - indices[::-1])


def test_training_reaches_every_frame_and_repeats_with_its_seed():
    sampling = Sampling(num_frames=4)
    seen = {int(i) for seed in range(300) for i in sampling.train(40, np.random.default_rng(seed))}
    assert seen == set(range(40))
    assert (sampling.train(40, np.random.default_rng(5)) == sampling.train(40, np.random.default_rng(5))).all()
    dense = Sampling(num_frames=4, strategy="dense", window=8)
    starts = {int(dense.train(10, np.random.default_rng(seed))[0]) for seed in range(100)}
    assert starts == {1, 2, 3}


def test_a_video_without_frames_and_settings_that_do_not_exist_are_refused():
    for call in (lambda s: s.test(0), lambda s: s.train(0, np.random.default_rng()), lambda s: s.test(5, 0)):
        with pytest.raises(ValueError, match=r"0 frames|at least 1"):
            call(Sampling())
    with pytest.raises(ConfigError, match="Did you mean 'segments'"):
        Sampling(strategy="segment")
    with pytest.raises(ConfigError):
        Sampling(num_frames=0)


@pytest.mark.parametrize(
    ("sampling", "span", "want"),
    [
        (Sampling(num_frames=4), None, 2.0 / 4),
        (Sampling(num_frames=4), (0.5, 1.5), 1.0 / 4),
        (Sampling(num_frames=4, strategy="dense", window=8), None, 0.8 / 4),
        (Sampling(num_frames=4, strategy="dense", window=64), None, 2.0 / 4),
    ],
)
def test_the_spacing_of_training(tmp_path, sampling, span, want):
    paths = [str(miniatures.write(tmp_path / f"{k}.mp4", k, length=20, rate=10)) for k in range(3)]
    paths.append(str(tmp_path / "absent.mp4"))
    start, end = span or (None, None)
    clips = to_clips([Row(path, "a", "", start, end) for path in paths], source="")
    assert typical_spacing(clips, sampling) == pytest.approx(want, abs=1e-3)


def test_pictures_have_no_spacing(tmp_path):
    path = str(miniatures.write(tmp_path / "folder", 0))
    assert typical_spacing(to_clips([Row(path, "a")], source=""), Sampling(num_frames=4)) is None
