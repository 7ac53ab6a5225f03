"""The numbers of a test against hand-worked examples and scikit-learn; tables on disk."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from teinet.errors import CheckpointError, ConfigError
from teinet.evaluation.scores import Scores

NAMES = ("left", "right", "up")


def four_clips(**changes) -> Scores:
    """Truth: left, left, right, up. Said: left; right before left; right; the last file is broken."""
    values = {
        "paths": ["a.mp4", "b.mp4", "c.mp4", "d.mp4"],
        "labels": [0, 0, 1, 2],
        "probabilities": [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]],
        "class_names": NAMES,
        "reasons": ["", "", "", "cut off"],
        "meta": {"views": "1x1"},
    }
    return Scores(**(values | changes))


def random_scores(num_clips: int = 300, num_classes: int = 12, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num_clips - num_classes)])
    probabilities = rng.dirichlet(np.full(num_classes, 0.5), num_clips)
    probabilities[np.arange(num_clips), labels] += 0.3 * rng.random(num_clips)
    return Scores(
        paths=[f"{i}.mp4" for i in range(num_clips)],
        labels=labels,
        probabilities=probabilities / probabilities.sum(1, keepdims=True),
        class_names=[f"class {i}" for i in range(num_classes)],
    )


def test_hand_worked_numbers():
    scores = four_clips()
    assert scores.ranks.tolist() == [1, 2, 1, 0]
    assert scores.predictions.tolist() == [0, 1, 1, -1]
    assert (scores.top1, scores.top(2)) == (2 / 4, 3 / 4)
    assert scores.class_accuracy.tolist() == [0.5, 1.0, 0.0]
    assert scores.mean_class_accuracy == 0.5
    assert scores.class_counts.tolist() == [2, 1, 1]
    assert scores.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert scores.confused_pairs() == [("left", "right", 1, 0.5)]


def test_a_broken_clip_is_wrong_even_where_its_row_happens_to_be_right():
    whole = four_clips(reasons=None)
    assert (whole.top1, four_clips().top1) == (0.75, 0.5)
    assert (whole.num_unreadable, four_clips().num_unreadable) == (0, 1)


def test_numbers_equal_scikit_learns():
    scores = random_scores()
    said = scores.probabilities.argmax(1)
    labels = np.arange(12)
    assert np.array_equal(scores.confusion, confusion_matrix(scores.labels, said))
    assert scores.mean_class_accuracy == pytest.approx(balanced_accuracy_score(scores.labels, said))
    for k in (1, 2, 5):
        theirs = top_k_accuracy_score(scores.labels, scores.probabilities, k=k, labels=labels)
        assert scores.top(k) == pytest.approx(theirs)
    assert scores.top5_k == 5 and scores.top5 == pytest.approx(theirs)


def test_a_constant_network_gains_nothing_from_ties():
    scores = Scores(paths="abcd", labels=[0, 1, 2, 3], probabilities=np.full((4, 4), 0.25), class_names="wxyz")
    assert (scores.top1, scores.top(2)) == (0.25, 0.5)


def test_clips_without_a_label_are_predicted_but_not_counted():
    scores = four_clips(labels=[0, -1, 1, -1])
    assert scores.top1 == scores.mean_class_accuracy == 1.0  # of the two classes that have clips
    assert math.isnan(scores.class_accuracy[2])
    assert scores.predictions.tolist() == [0, 1, 1, -1]


def test_nothing_readable_is_zero_and_nothing_labeled_is_no_number():
    broken = four_clips(reasons=["bad"] * 4)
    assert (broken.top1, broken.top5, broken.mean_class_accuracy, broken.num_unreadable) == (0, 0, 0, 4)
    assert broken.confusion.sum() == 0
    unknown = four_clips(labels=[-1] * 4).metrics()
    assert unknown["top1"] is None and unknown["mean_class_accuracy"] is None


def test_scores_that_are_not_finite_count_as_wrong_and_are_listed():
    scores = four_clips(probabilities=[[np.nan] * 3, [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0, 0, 1]], reasons=None)
    assert scores.top1 == 0.5
    assert scores.num_unreadable == 1 and "finite" in scores.reasons[0]


@pytest.mark.parametrize(
    "changes", [{"labels": [0, 0, 1, 3]}, {"labels": [0, 0, 1]}, {"class_names": ["a", "b"]}, {"reasons": [""]}]
)
def test_what_does_not_fit_together_is_refused(changes):
    with pytest.raises(ConfigError):
        four_clips(**changes)


def test_saved_scores_come_back_and_the_tables_say_the_same(tmp_path):
    scores = four_clips(paths=["a.mp4", "naïve, b.mp4", "c.mp4", "d.mp4"])
    folder = tmp_path / "run" / "test"
    scores.save(folder)
    back = Scores.load(folder)
    for name in ("labels", "probabilities"):
        assert np.array_equal(getattr(back, name), getattr(scores, name))
    for name in ("paths", "class_names", "reasons", "meta"):
        assert getattr(back, name) == getattr(scores, name)

    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["top1"] == 0.5 and metrics["num_unreadable"] == 1 and metrics["views"] == "1x1"
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[1]) == ["path", "label", "prediction", "probability", "rank", "readable", "reason"]
    assert list(rows[1].values()) == ["naïve, b.mp4", "left", "right", "0.6", "2", "yes", ""]
    assert rows[3]["prediction"] == "" and rows[3]["readable"] == "no"
    assert (folder / "unreadable.csv").read_text().splitlines() == ["path,reason", "d.mp4,cut off"]
    assert (folder / "per_class.csv").read_text().splitlines()[1:] == ["left,2,0.5", "right,1,1", "up,1,0"]
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "damaged.csv").exists(), "a table of nothing"
    replace(scores, reasons=[""] * 4).save(folder, image=False)
    assert not (folder / "unreadable.csv").exists(), "that of the earlier test"


def test_broken_score_files_are_refused(tmp_path):
    four_clips().save(tmp_path, image=False)
    file = tmp_path / "scores.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"scores\.safetensors"):
        Scores.load(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        Scores.load(tmp_path / "elsewhere")


def test_no_clips_at_all_can_be_saved(tmp_path):
    Scores(paths=[], labels=[], probabilities=[], class_names=NAMES).save(tmp_path)
    assert len(Scores.load(tmp_path)) == 0
