"""Means, spreads and intervals, against tables worked by hand and the textbook's formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml

from benchmarks.study.plan import Study
from benchmarks.study.results import Done, append, results_file
from benchmarks.study.statistics import (
    calibration_error,
    calibration_floor,
    difference_over_folds,
    mean,
    paired_difference,
    reliability,
)
from teinet.errors import ConfigError


def test_a_mean_over_folds_of_means_over_seeds():
    # folds a: 0.6, 0.8 (mean 0.7, variance 0.02); b: 0.5 (mean 0.5); the mean is 0.6, over folds sqrt(0.02)
    found = mean({("a", 0): 0.6, ("a", 1): 0.8, ("b", 0): 0.5})
    assert found.value == pytest.approx(0.6)
    assert found.over_folds == pytest.approx(math.sqrt(0.02))
    assert found.over_seeds == pytest.approx(math.sqrt(0.02))
    assert found.cells == 3


def test_the_spread_over_seeds_weighs_each_fold_by_its_degrees_of_freedom():
    # three seeds with variance 0.01, two with 0.02, one that tells nothing: sqrt((2 * 0.01 + 1 * 0.02) / 3)
    found = mean({("a", 0): 0.6, ("a", 1): 0.7, ("a", 2): 0.8, ("b", 0): 0.5, ("b", 1): 0.7, ("c", 0): 0.1})
    assert found.over_seeds == pytest.approx(math.sqrt(0.04 / 3))


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


def test_reliability_of_a_hand_worked_case():
    sure = np.array([0.9, 0.1, 0.8, 0.2])
    right = np.array([True, False, False, True])
    assert reliability(sure, right, bins=2) == [(pytest.approx(0.15), 0.5, 2), (pytest.approx(0.85), 0.5, 2)]
    assert calibration_error(sure, right, bins=2) == pytest.approx(0.35)
    assert [bar.clips for bar in reliability(sure, right, bins=10)] == [1, 1, 1, 1]


def test_the_interval_over_folds_is_students():
    # differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1; t of two degrees of freedom is 4.3027
    value, low, high = difference_over_folds([0.6, 0.8, 0.7], [0.5, 0.6, 0.4])
    assert value == pytest.approx(0.2)
    assert (low, high) == (pytest.approx(0.2 - 4.3027 * 0.1 / math.sqrt(3), abs=1e-4), pytest.approx(0.4484, abs=1e-4))
    value, *interval = difference_over_folds([0.6], [0.5])
    assert value == pytest.approx(0.1) and all(map(math.isnan, interval))
    with pytest.raises(ValueError, match="no folds"):
        difference_over_folds([], [])


def test_probabilities_that_are_true_still_miss_by_chance():
    # a bin of n fair coins misses one half by sqrt(2 / pi) * sqrt(0.25 / n) on average
    assert calibration_floor(np.full(1000, 0.5)) == pytest.approx(math.sqrt(2 / math.pi * 0.25 / 100), rel=0.05)
    assert calibration_floor(np.ones(50)) == 0


def more_in(study_file, **settings):
    study_file.write_text(yaml.safe_dump(yaml.safe_load(study_file.read_text()) | settings, sort_keys=False))


def made(study_file, answers, names=("a", "b", "c")):
    """The study's cells with these predictions; every clip's label is 0."""
    study = Study.load(study_file)
    clips = {"ann": ["a1", "a2", "a3"], "bob": ["b1"]}
    cells = {}
    for cell in study.cells():
        if (said := answers.get((cell.network, cell.fold))) is not None:
            here = clips[cell.fold]
            test = {"predicted": said, "confidence": [0.5] * len(said), "top1": said.count(0) / len(said)}
            cells[cell] = {
                "class_names": list(names),
                "clips": here,
                "clusters": [cell.fold] * len(here),
                "labels": [0] * len(here),
                "test": test,
            }
    return Done(study, cells)


def test_a_difference_counts_only_cells_that_both_networks_have(study_file):
    more_in(study_file, seeds=[0, 1])
    done = made(study_file, {("TSN", "ann"): [0, 1, 1], ("TIM", "ann"): [0, 0, 1], ("TIM", "bob"): [1]})
    alone = done.study.cell("TIM/ann/1")  # right in all, but TSN has no such cell
    done.cells[alone]["test"] |= {"predicted": [0, 0, 0], "top1": 1.0}
    del done.cells[done.study.cell("TSN/ann/1")]
    found = done.difference("TIM", "TSN")
    assert (found.value, found.clips) == (pytest.approx(1 / 3), 3)
    assert done.over_folds("TIM", "TSN")[0] == pytest.approx(1 / 3)
    assert done.difference("TSN", "TSN") is None


@pytest.mark.parametrize("what", ["data", "backbone_weights"])
def test_cells_of_other_clips_or_weights_do_not_share_a_table(study_file, what):
    study = Study.load(study_file)
    for number, cell in enumerate(cell for cell in study.cells() if cell.fold == "ann"):
        append(
            results_file(study_file.parent, study),
            {"cell": str(cell), "settings": study.digest(cell), what: f"hash {number}"}
            | {"clips": [], "clusters": [], "labels": [], "class_names": []},
        )
    with pytest.raises(ConfigError, match=f"TSN/ann/0 and TIM/ann/0 differ in {what}"):
        Done.load(study, study_file.parent)
