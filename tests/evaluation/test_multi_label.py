"""Average precision and thresholds of clips with several labels, against a hand-worked table and torchmetrics."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from teinet.errors import ConfigError
from teinet.evaluation.ensemble import average
from teinet.evaluation.multi_label import average_precision, best_thresholds
from teinet.evaluation.plan import measured
from teinet.evaluation.plots import draw_curves
from teinet.evaluation.scores import Scores, tables
from teinet.evaluation.submission import write_submission
from teinet.pages.comparison import write_page
from teinet.report.compare import compare
from teinet.report.terminal import lines

# By the scores, the clips of `a` have ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3; that of `b` rank 2; `c` has none.
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
SCORES = np.array([[0.9, 0.8, 0.1], [0.8, 0.7, 0.2], [0.7, 0.2, 0.9], [0.6, 0.1, 0.3], [0.5, 0.3, 0.4]], np.float32)
AP = [(1 + 2 / 3 + 3 / 4) / 3, 1 / 2, np.nan]


@pytest.fixture
def scores() -> Scores:
    return Scores(
        paths=[f"clips/{i}.mp4" for i in range(5)], labels=[0, 1, 0, 0, -1], probabilities=SCORES,
        class_names=["a", "b", "c"], label_sets=TRUTH, names=[str(i) for i in range(5)], meta={"views": "1x1"},
    )  # fmt: skip


def test_average_precision_of_a_hand_worked_table():
    assert average_precision(TRUTH, SCORES) == pytest.approx(AP, nan_ok=True)
    tied = np.full((5, 3), 0.5)
    assert average_precision(TRUTH, tied) == pytest.approx([3 / 5, 1 / 5, np.nan], nan_ok=True), "ties share a rank"


def test_average_precision_is_that_of_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional")
    rng = np.random.default_rng(0)
    truth, found = rng.random((200, 12)) < 0.2, rng.random((200, 12)).astype(np.float32).round(2)  # with ties
    wanted = functional.classification.multilabel_average_precision(
        torch.from_numpy(found), torch.from_numpy(truth).long(), num_labels=12, average="none"
    )
    assert average_precision(truth, found) == pytest.approx(wanted.numpy(), abs=1e-6)


def test_thresholds_have_the_best_f1():
    # `a`: three of four at 0.6 is 2 * 3/4 / (3/4 + 1), better than one of one, or two of three
    assert best_thresholds(TRUTH, SCORES) == pytest.approx([0.6, 0.7, 0.5], abs=1e-6)
    rng = np.random.default_rng(1)
    truth, found = rng.random((60, 4)) < 0.3, rng.random((60, 4)).astype(np.float32)
    for own, each, threshold in zip(truth.T, found.T, best_thresholds(truth, found)):

        def f1(least, own=own, each=each):
            return 2 * (own & (each >= least)).sum() / (own.sum() + (each >= least).sum())

        assert f1(threshold) == max(f1(least) for least in each), "no score as threshold has a better F1"


def test_an_unreadable_clip_comes_last_and_sets_no_threshold(scores):
    reasons = ["", "", "", "cannot be read", ""]
    damaged = Scores(
        paths=scores.paths, labels=scores.labels, probabilities=SCORES, class_names="abc", label_sets=TRUTH,
        reasons=reasons,
    )  # fmt: skip
    assert damaged.average_precision == pytest.approx([(1 + 2 / 3 + 3 / 5) / 3, 1 / 2, np.nan], nan_ok=True)
    assert damaged.best_thresholds()[0] == pytest.approx(0.7, abs=1e-6)


def test_a_test_reports_map_and_each_class(scores, tmp_path):
    assert (scores.measure, scores.accuracy) == ("mAP", pytest.approx(np.nanmean(AP)))
    assert "mAP 65.3" in repr(scores) and measured(scores).top1 == scores.accuracy and measured(scores).top5 is None
    scores.save(tmp_path / "test-1x1")
    numbers = json.loads((tmp_path / "test-1x1" / "metrics.json").read_text())
    assert numbers["map"] == pytest.approx(np.nanmean(AP)) and "top1" not in numbers
    assert numbers["average_precision"] == {"a": pytest.approx(AP[0]), "b": 0.5, "c": None}
    with (tmp_path / "test-1x1" / "clips.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["a", "b", "a", "a", ""]
    assert (tmp_path / "test-1x1" / "per_class.csv").read_text().splitlines()[:2] == [
        "class,clips,average_precision", "a,3,0.805556",
    ]  # fmt: skip
    again = Scores.load(tmp_path / "test-1x1")
    assert (again.label_sets == TRUTH).all() and again.metrics() == scores.metrics()
    summary, classes = tables(scores)
    assert list(summary.columns[0].cells) == ["mAP", "clips"] and len(list(classes.rows)) == 2
    assert str(list(summary.columns[1].cells)[1]) == "5, 1 without a class"
    comparison = compare([tmp_path / "test-1x1"])
    assert comparison.runs[0].problems == [] and "mAP 65.3" in "\n".join(map(str, lines(comparison)))
    write_page(comparison, tmp_path / "report.html")
    assert "mAP 65.3" in (tmp_path / "report.html").read_text()


def test_what_takes_one_label_is_refused(scores, tmp_path):
    for number in ("top1", "top5", "mean_class_accuracy", "confusion"):
        with pytest.raises(ConfigError, match="several labels, so there is no top-1"):
            getattr(scores, number)
    with pytest.raises(ConfigError, match=r"two: scores of clips with several labels cannot be averaged"):
        one = Scores(paths=scores.paths, labels=scores.labels, probabilities=SCORES, class_names="abc")
        average([one, scores], names=["one", "two"])
    with pytest.raises(ConfigError, match="one class for a clip"):
        write_submission(scores, tmp_path / "answers.txt")
    for name in ("average_precision", "best_thresholds"):
        with pytest.raises(ConfigError, match="several labels"):
            getattr(one, name)()
    with pytest.raises(ConfigError, match="label sets have shape"):
        Scores(paths="ab", labels=[0, 0], probabilities=SCORES[:2], class_names="abc", label_sets=TRUTH)


def test_curves_have_a_panel_of_map():
    rows = [{"epoch": i, "loss": 1, "val_map": i / 10, "val_loss": 1, "lr": 1} for i in (1, 2)]
    titles = [axes.get_title() for axes in draw_curves({"run": rows}).axes]
    assert titles == ["loss", "validation mAP, %", "learning rate"]
