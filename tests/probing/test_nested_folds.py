"""Linear heads compared: scikit-learn's own answers, whole groups, choices that are counted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from teinet.errors import ConfigError
from teinet.probing.nested_folds import Candidate, compare, fit_head


def clusters(count: int, classes: int, features: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.normal(size=(count, features)) + apart * rng.normal(size=(classes, features))[labels], labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("features", [7, 90])
def test_a_head_is_scikit_learns_logistic_regression_on_standardized_features(classes, features):
    values, labels = clusters(60, classes, features, 0.6)
    values = 5 * values + 3
    head = fit_head(values, labels, classes, 10.0)
    scaled = StandardScaler().fit_transform(values) / features**0.5
    model = LogisticRegression(C=10.0, max_iter=3000, tol=1e-8).fit(scaled, labels)
    logits = head.logits(values)
    got = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(got, model.predict_proba(scaled), atol=5e-3)


def test_a_feature_that_never_changes_and_a_class_without_clips_disturb_nothing():
    values, labels = clusters(40, 2, 5, 2.0)
    head = fit_head(np.concatenate([values, np.full((40, 1), 7.0)], 1), 2 * labels, 3, 10.0)
    assert np.isfinite(head.weight).all() and not head.weight[:, 5].any()
    assert (head.logits(np.concatenate([values, np.full((40, 1), -9.0)], 1)).argmax(1) == 2 * labels).mean() > 0.9


def test_groups_are_kept_whole():
    """Each group has features of its own and one label: seen in training it is known, else it is a guess."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    labels = rng.integers(0, 2, 40)[groups]
    values = 5 * rng.normal(size=(40, 60))[groups] + rng.normal(size=(200, 60))
    loose = compare({"motion": values}, labels, folds=5, shuffles=2, strengths=(10.0,))
    kept = compare({"motion": values}, labels, groups, folds=5, shuffles=2, strengths=(10.0,))
    assert min(loose.nested) > 0.95 and max(kept.nested) < 0.7


def test_the_whole_choice_promises_less_than_the_best_of_many_candidates():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    noise = {f"head {i}": rng.normal(size=(60, 8)) for i in range(30)}
    found = compare(noise, labels, folds=5, shuffles=2, strengths=(10.0,))
    best = max(np.mean(each) for each in found.candidates.values())
    assert best > 0.6 and np.mean(found.nested) < best - 0.05


def test_the_better_head_is_chosen_and_its_figure_is_that_of_plain_cross_validation():
    good, labels = clusters(90, 3, 10, 1.0)
    noise = np.random.default_rng(2).normal(size=(90, 10))
    seen = []
    found = compare(
        {"average": noise, "motion": good}, labels, folds=4, shuffles=2, strengths=(1.0, 10.0),
        on_fold=lambda: seen.append(1),
    )  # fmt: skip
    assert found.chosen.head == "motion" and found.folds == 4 and len(seen) == 8
    assert list(found.candidates) == [Candidate(h, s) for h in ("average", "motion") for s in (1.0, 10.0)]
    assert found.predictions.shape == (2, 90)
    assert found.nested == [(row == labels).mean() for row in found.predictions]
    assert np.mean(found.nested) > 0.8 > 0.5 > np.mean(found.candidates[Candidate("average", 1.0)])


def test_few_groups_make_fewer_folds():
    values, labels = clusters(40, 2, 6, 2.0)
    found = compare({"motion": values}, labels, np.repeat(["a", "b"], 20), folds=5, shuffles=3)
    assert found.folds == 2 and found.nested[0] > 0.8
    assert len(found.nested) == 1  # each fold is one group, so there is one way to draw them


@pytest.mark.parametrize(
    ("labels", "groups", "how", "says"),
    [
        ([0] * 6, None, {}, "one class"),
        ([0, 1] * 3, ["a"] * 6, {}, "one group"),
        ([0, 1] * 3, None, {"folds": 1}, "at least 2"),
        ([0, 1] * 3, None, {"shuffles": 0}, "at least 2 and 1"),
    ],
)
def test_what_cannot_be_compared_is_said(labels, groups, how, says):
    with pytest.raises(ConfigError, match=says):
        compare({"motion": np.eye(6)}, np.array(labels), None if groups is None else np.array(groups), **how)


def test_a_fold_that_leaves_one_class_has_no_answer_and_counts_as_wrong():
    """Two groups have both classes, the third one class alone; of two groups of one class each, nothing can be said."""
    values, _ = clusters(12, 2, 4, 3.0)
    labels, groups = np.array([0] * 6 + [1] * 6), np.array(["a"] * 6 + ["b"] * 6)
    with pytest.raises(ConfigError, match="no fold can be measured"):
        compare({"motion": values}, labels, groups, folds=2, shuffles=1)
    found = compare({"motion": values}, np.array([0] * 6 + [0, 1] * 3), groups, folds=2, shuffles=1)
    assert sorted(set(found.predictions[0][:6])) != [-1] and set(found.predictions[0][6:]) == {-1}
    assert found.nested[0] <= 0.5
