"""Means, spreads and intervals, against tables worked by hand and the textbook's formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from teinet.study.picture import draw_calibration
from teinet.study.plan import Study
from teinet.study.results import Done
from teinet.study.statistics import calibration_error, mean, paired_difference, reliability
from teinet.study.tables import errors_of, fill


def test_a_mean_over_folds_of_means_over_seeds():
    # folds a: 0.6, 0.8 (mean 0.7, variance 0.02); b: 0.5 (mean 0.5); the mean is 0.6, over folds sqrt(0.02)
    found = mean({("a", 0): 0.6, ("a", 1): 0.8, ("b", 0): 0.5})
    assert found.value == pytest.approx(0.6)
    assert found.over_folds == pytest.approx(math.sqrt(0.02))
    assert found.over_seeds == pytest.approx(math.sqrt(0.02))
    assert found.cells == 3


def test_what_is_not_measured_is_not_a_number():
    one = mean({("a", 0): 0.6})
    assert one.value == 0.6 and math.isnan(one.over_folds) and math.isnan(one.over_seeds)
    assert math.isnan(mean({}).value)


def test_single_clips_give_the_textbooks_interval():
    rng = np.random.default_rng(1)
    ours, theirs = rng.integers(2, size=1000), rng.integers(2, size=1000)
    found = paired_difference(ours, theirs, range(1000))
    error = (ours - theirs).std(ddof=1) / math.sqrt(1000)
    assert found.value == pytest.approx((ours - theirs).mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert (found.clips, found.clusters) == (1000, 1000)


def test_clips_that_always_agree_count_once():
    rng = np.random.default_rng(2)
    ours, theirs = rng.integers(2, size=200), rng.integers(2, size=200)
    single = paired_difference(ours, theirs, range(200))
    ninefold = paired_difference(np.repeat(ours, 9), np.repeat(theirs, 9), np.repeat(range(200), 9).tolist())
    assert (ninefold.low, ninefold.high) == pytest.approx((single.low, single.high), abs=0.01)
    assert (ninefold.clips, ninefold.clusters) == (1800, 200)


def test_clips_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="3, 2 and 3"):
        paired_difference(np.ones(3), np.ones(2), "abc")


def test_calibration_by_hand():
    # two bins of two: confidence 0.6 and accuracy 0.5 (gap 0.1), then 0.9 and 1 (gap 0.1)
    assert calibration_error(np.array([0.9, 0.5, 0.7, 0.9]), np.array([1, 1, 0, 1]), bins=2) == pytest.approx(0.1)
    assert calibration_error(np.array([1.0, 1.0]), np.array([1, 1])) == 0


def test_reliability_of_a_hand_worked_case():
    sure = np.array([0.9, 0.1, 0.8, 0.2])
    right = np.array([True, False, False, True])
    assert reliability(sure, right, bins=2) == [(pytest.approx(0.15), 0.5, 2), (pytest.approx(0.85), 0.5, 2)]
    assert calibration_error(sure, right, bins=2) == pytest.approx(0.35)
    assert [bar.clips for bar in reliability(sure, right, bins=10)] == [1, 1, 1, 1]


def made(study_file, answers):
    """The study's cells with these predictions; every clip's label is 0."""
    study = Study.load(study_file)
    clips = {"ann": ["a1", "a2", "a3"], "bob": ["b1"]}
    cells = {}
    for cell in study.cells():
        if (said := answers.get((cell.network, cell.fold))) is not None:
            names = clips[cell.fold]
            test = {"predicted": said, "confidence": [0.5] * len(said)}
            cells[cell] = {
                "clips": names,
                "clusters": [cell.fold] * len(names),
                "labels": [0] * len(names),
                "test": test,
            }
    return Done(study, cells)


def test_clusters_with_the_most_errors_come_first(study_file):
    done = made(study_file, {("TSN", "ann"): [0, 1, 1], ("TIM", "ann"): [0, 0, 1], ("TSN", "bob"): [1]})
    first, second = done.clusters()
    assert (first.name, first.clips, first.errors) == ("ann", 3, pytest.approx(1.5))  # two wrong, and one wrong
    assert first.right == {"TSN": pytest.approx(1 / 3), "TIM": pytest.approx(2 / 3)}
    assert second.to_dict() == {"name": "bob", "clips": 1, "errors": 1.0, "right": {"TSN": 0.0, "TIM": None}}
    assert errors_of(done, 1) == (
        ["subject / label", "clips", "errors", "TSN", "TIM"], [["ann", "3", "1.5", "33.3", "66.7"]]
    )  # fmt: skip
    page = "<!-- errors of tiny -->\nold\n<!-- end of errors of tiny -->"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("teinet.study.tables.markdown", lambda done: "")
        assert "| bob | 1 | 1.0 | 0.0 | – |" in fill(page, [done])


def test_calibration_is_drawn(study_file):
    figure = draw_calibration(made(study_file, {("TSN", "ann"): [0, 1, 1]}))
    (axes,) = figure.axes
    line = axes.lines[1]  # after the diagonal
    assert line.get_label() == "TSN"
    assert sorted(line.get_xydata().tolist()) == [[50.0, 0.0], [50.0, 0.0], [50.0, 100.0]]
