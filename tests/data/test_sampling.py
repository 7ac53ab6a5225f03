"""The frames and crops of the protocols, worked out by hand for videos of 5 to 300 frames; the rule's properties."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teinet.data.lists.rows import Row, to_clips
from teinet.data.sampling import Sampling, typical_frame_interval
from teinet.data.transforms import Preprocessing, test_crops
from teinet.errors import ConfigError
from tests import miniatures

videos = st.integers(1, 2000)
lengths = st.integers(1, 32)
clips = st.integers(1, 12)
kinds = st.sampled_from(["sparse", "dense"])


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


def test_rows_of_adjacent_frames_begin_in_the_middle_of_their_part():
    """StNet's authors' company, PaddlePaddle/models, reader/kinetics_reader.py: 25 places of 5 frames in its tests."""
    stnet = Sampling(num_frames=6, adjacent=3)
    assert stnet.test(20)[0].tolist() == [5, 6, 7, 15, 16, 17]  # parts of ten frames
    assert stnet.test(7)[0].tolist() == [1, 2, 3, 4, 5, 6]  # the second row would begin at 5, and ends with the video
    assert stnet.test(2)[0].tolist() == [0, 1, 1, 0, 1, 1]
    assert stnet.test(20, 2).tolist() == [[2, 3, 4, 12, 13, 14], [7, 8, 9, 17, 18, 19]]
    drawn = np.stack([stnet.train(20, np.random.default_rng(seed)) for seed in range(300)]).reshape(-1, 2, 3)
    assert set(drawn[:, 0, 0]) == set(range(10)) and set(drawn[:, 1, 0]) == set(range(10, 18))
    assert (np.diff(drawn) == 1).all()
    with pytest.raises(ConfigError, match="num_frames is 8; it must be a multiple of adjacent, 5"):
        Sampling(num_frames=8, adjacent=5)


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
    with pytest.raises(ConfigError, match="Did you mean 'sparse'"):
        Sampling(strategy="spars")
    with pytest.raises(ConfigError):
        Sampling(num_frames=0)


@pytest.mark.parametrize(("sampling", "span", "want"), [
    (Sampling(num_frames=4), None, 2.0 / 4), (Sampling(num_frames=4), (0.5, 1.5), 1.0 / 4),
    (Sampling(num_frames=4, strategy="dense", window=8), None, 0.8 / 4),
    (Sampling(num_frames=4, strategy="dense", window=64), None, 2.0 / 4),
])  # fmt: skip
def test_the_spacing_of_training(tmp_path, sampling, span, want):
    paths = [str(miniatures.write(tmp_path / f"{k}.mp4", k, length=20, rate=10)) for k in range(3)]
    paths.append(str(tmp_path / "absent.mp4"))
    start, end = span or (None, None)
    clips = to_clips([Row(path, "a", "", start, end) for path in paths], source="")
    assert typical_frame_interval(clips, sampling) == pytest.approx(want, abs=1e-3)


def test_images_have_no_spacing(tmp_path):
    path = str(miniatures.write(tmp_path / "folder", 0))
    assert typical_frame_interval(to_clips([Row(path, "a")], source=""), Sampling(num_frames=4)) is None


# frame floor((i + 1/2) n / T), for T = 8 and T = 16
MIDDLES = {
    (5, 8): [0, 0, 1, 2, 2, 3, 4, 4],  # steps of 0.625 from 0.3125
    (8, 8): [0, 1, 2, 3, 4, 5, 6, 7],
    (12, 8): [0, 2, 3, 5, 6, 8, 9, 11],  # 0.75 2.25 3.75 5.25 6.75 8.25 9.75 11.25
    (40, 8): [2, 7, 12, 17, 22, 27, 32, 37],
    (64, 8): [4, 12, 20, 28, 36, 44, 52, 60],
    (300, 8): [18, 56, 93, 131, 168, 206, 243, 281],  # 18.75 56.25 93.75 131.25 ...
    (5, 16): [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4],  # steps of 0.3125 from 0.15625
    (8, 16): [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7],
    (12, 16): [0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11],  # steps of 0.75 from 0.375
    (40, 16): [1, 3, 6, 8, 11, 13, 16, 18, 21, 23, 26, 28, 31, 33, 36, 38],  # steps of 2.5 from 1.25
    (64, 16): [2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62],
    (300, 16): [9, 28, 46, 65, 84, 103, 121, 140, 159, 178, 196, 215, 234, 253, 271, 290],  # 18.75 from 9.375
}
# two clips: a quarter and three quarters into each segment
TWO = {
    5: ([0, 0, 1, 2, 2, 3, 3, 4], [0, 1, 1, 2, 2, 3, 4, 4]),  # 0.15625 and 0.46875 on steps of 0.625
    8: ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
    12: ([0, 1, 3, 4, 6, 7, 9, 10], [1, 2, 4, 5, 7, 8, 10, 11]),  # 0.375 and 1.125 on steps of 1.5
    40: ([1, 6, 11, 16, 21, 26, 31, 36], [3, 8, 13, 18, 23, 28, 33, 38]),
    64: ([2, 10, 18, 26, 34, 42, 50, 58], [6, 14, 22, 30, 38, 46, 54, 62]),
    300: ([9, 46, 84, 121, 159, 196, 234, 271], [28, 65, 103, 140, 178, 215, 253, 290]),
}
# the first frame of a dense window of 64 (or of the whole shorter video): the middle one, and ten from 0 to n - 64
DENSE_STARTS = {
    **dict.fromkeys((5, 8, 12, 40, 64), (0, [0] * 10)),
    300: (118, [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]),  # steps of 26.2
}


@pytest.mark.parametrize(("n", "num_frames"), MIDDLES)
def test_one_clip_of_segments(n, num_frames):
    assert Sampling(num_frames=num_frames).test(n).tolist() == [MIDDLES[n, num_frames]]


@pytest.mark.parametrize("n", TWO)
def test_two_clips_of_segments(n):
    assert Sampling(num_frames=8).test(n, 2).tolist() == [*map(list, TWO[n])]


@pytest.mark.parametrize("n", DENSE_STARTS)
def test_dense_clips(n):
    dense = Sampling(num_frames=8, strategy="dense")
    inside = np.array(MIDDLES[min(n, 64), 8])  # the middles of the window's own segments
    middle, ten = DENSE_STARTS[n]
    assert dense.test(n).tolist() == [(middle + inside).tolist()]
    assert dense.test(n, 10).tolist() == [(start + inside).tolist() for start in ten]


@pytest.mark.parametrize("n", DENSE_STARTS)
def test_training_draws_stay_in_their_segment_or_window(n):
    segments, dense = Sampling(num_frames=8), Sampling(num_frames=8, strategy="dense")
    inside = np.array(MIDDLES[min(n, 64), 8])
    for seed in range(50):
        rng = np.random.default_rng(seed)
        drawn = segments.train(n, rng)
        assert all(int(i * n / 8) <= frame <= int(np.ceil((i + 1) * n / 8)) - 1 for i, frame in enumerate(drawn))
        start = dense.train(n, rng) - inside
        assert len(set(start.tolist())) == 1 and 0 <= start[0] <= max(0, n - 64)


# height, width of an image whose short side is 256 already; crops; full resolution: (top, left) of each
CROPS = {
    (256, 340, 1, False): [(16, 58)],  # 32 and 116 to spare
    (256, 340, 3, True): [(0, 0), (0, 42), (0, 84)],
    (256, 340, 3, False): [(16, 0), (16, 58), (16, 116)],
    (256, 340, 5, True): [(0, 0), (0, 21), (0, 42), (0, 63), (0, 84)],
    (340, 256, 3, True): [(0, 0), (42, 0), (84, 0)],
    (256, 256, 3, True): [(0, 0)] * 3,
    (256, 455, 2, True): [(0, 0), (0, 199)],
}


@pytest.mark.parametrize("key", CROPS)
def test_places_of_crops(key):
    """Each pixel tells where it stood: red the row, green the column's rest of 256, blue its multiple."""
    height, width, count, full = key
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, 2 * (rows // 256) + columns // 256], axis=-1).astype(np.uint8)
    crops = test_crops(image[None], Preprocessing(), count, full)
    assert crops.shape == (count, 1, *(2 * [256 if full else 224]), 3)
    corners = [tuple(crop[0, 0, 0].tolist()) for crop in crops]
    assert corners == [(top % 256, left % 256, 2 * (top // 256) + left // 256) for top, left in CROPS[key]]
