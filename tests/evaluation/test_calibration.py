"""Calibrated scores: against torch, torchmetrics and a table worked out by hand; through the commands to a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

import teinet
from teinet.cli.main import main
from teinet.errors import ConfigError
from teinet.evaluation.calibration import calibrate, calibration_error, fit_temperature, soften
from teinet.evaluation.scores import Scores
from teinet.models.header import read_header
from teinet.recognition import Prediction, Recognizer


def scores_of(probabilities: np.ndarray, labels: list[int], **more) -> Scores:
    names = ["a", "b", "c"][: probabilities.shape[1]]
    paths = [f"{number}.mp4" for number in range(len(labels))]
    return Scores(paths=paths, labels=np.array(labels), probabilities=probabilities, class_names=names, **more)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn by probabilities of logits; the network says three times these logits: it is too sure."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 1.5
    true = soften(np.exp(logits), 1.0)
    labels = np.array([rng.choice(4, p=row) for row in true])
    return soften(np.exp(logits), 1 / 3), labels


def test_the_temperature_undoes_what_made_the_scores_too_sure(drawn):
    said, labels = drawn
    assert fit_temperature(said, labels) == pytest.approx(3, rel=0.1)
    assert calibration_error(said, labels) > 0.15
    assert calibration_error(soften(said, 3.0), labels) < 0.01
    logits = torch.from_numpy(np.log(said))
    torch.testing.assert_close(torch.from_numpy(soften(said, 2.0)), torch.softmax(logits / 2, 1))


def test_the_calibration_error_is_torchmetrics(drawn):
    said, labels = drawn
    other = multiclass_calibration_error(torch.from_numpy(said), torch.from_numpy(labels), num_classes=4, n_bins=15)
    assert calibration_error(said, labels) == pytest.approx(other.item(), abs=1e-5)
    by_hand = np.array([[0.95, 0.05], [0.97, 0.03], [0.6, 0.4]])  # two in one range, one of them right; one right
    assert calibration_error(by_hand, np.array([0, 1, 0])) == pytest.approx((2 * (0.96 - 0.5) + (1 - 0.6)) / 3)


@pytest.mark.parametrize("name", ["teinet_resnet10t", "tsn_resnet10t", "trn_resnet10t"])
@pytest.mark.parametrize("consensus", [None, "motion", "temporal", "difference"])
def test_logits_are_divided_by_the_temperature(name, consensus):
    if name.startswith("trn") and consensus:
        pytest.skip("its consensus is the relation")
    torch.manual_seed(0)
    options = {} if consensus is None else {"consensus": consensus}
    recognizer = Recognizer(teinet.create_model(name, num_classes=3, num_frames=4, **options), ["a", "b", "c"])
    clips = torch.randint(0, 256, (2, 4, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before = recognizer.model(clips)
        probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
        scores = scores_of(probabilities, [0, 1, 1, 2])
        found = calibrate(recognizer, scores)
        torch.testing.assert_close(recognizer.model(clips) * found.temperature, before, rtol=1e-4, atol=1e-5)
    assert found.clips == 4 and recognizer.header["calibration"]["temperature"] == found.temperature
    after = soften(probabilities, found.temperature)
    assert found.min_score == pytest.approx(np.quantile(after.max(1)[[0, 2, 3]], 0.05), abs=1e-5)
    given = after.max(1) >= found.min_score
    assert found.answered == given.mean() and found.right == pytest.approx(
        (after.argmax(1) == [0, 1, 1, 2])[given].mean()
    )


def test_too_few_clips_and_unreadable_ones():
    recognizer = Recognizer(teinet.create_model("tsn_resnet10t", num_classes=2, num_frames=2), ["a", "b"])
    scores = scores_of(np.full((2, 2), 0.5), [0, 1], reasons=["", "no video"])
    with pytest.raises(ConfigError, match="1 labeled clips can be read; calibrating needs two"):
        calibrate(recognizer, scores)


def test_an_answer_below_the_score_is_none_of_the_classes():
    answer = Prediction(path="clip.mp4", labels=(("fight", 0.6), ("noFight", 0.4)), min_score=0.7)
    assert answer.label is None and answer.to_dict()["label"] is None and answer.to_dict()["min_score"] == 0.7
    assert Prediction(labels=(("fight", 0.7),), min_score=0.7).label == "fight"
    assert "label" not in Prediction(labels=(("fight", 0.7),)).to_dict()


def test_from_a_test_to_an_answer_that_is_not_given(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recognizer = Recognizer(
        teinet.create_model("tsn_resnet10t", num_classes=3, num_frames=2), ["moving left", "moving right", "resting"],
    )  # fmt: skip
    recognizer.save("net.safetensors")
    words = ["test", "net.safetensors", "--data", str(clips), "--workers", "0", "--device", "cpu"]
    assert main([*words, "--calibrate", "sure.safetensors"]) == 0
    assert "sure.safetensors: logits divided by" in capsys.readouterr().out
    chosen = read_header("sure.safetensors")["calibration"]
    assert chosen["clips"] == 12 and 0 < chosen["min_score"] <= 1 and Recognizer.load("sure.safetensors").min_score == 0
    video = str(next(clips.rglob("*.mp4")))
    assert main(["predict", "sure.safetensors", video, "--min-score", "calibrated", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["min_score"] == chosen["min_score"]
    assert main(["predict", "net.safetensors", video, "--min-score", "1"]) == 0
    assert "none of these: the best score is below 100.0 %" in capsys.readouterr().out
    assert main(["predict", "net.safetensors", video, "--min-score", "1", "--output-format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{video},,,,")
    for more, says in (
        (("predict", "net.safetensors", video, "--min-score", "calibrated"), "net.safetensors is not calibrated"),
        (("predict", "net.safetensors", video, "--min-score", "2"), "--min-score is 2; it must be a number"),
        ((*words, "--calibrate", "sure.safetensors"), "exists"),
        ((*words, "--calibrate", "sure.onnx"), "--calibrate writes a .safetensors file"),
        ((*words, "--views", "2x1", "--calibrate", "more.safetensors"), "--calibrate takes one network and one view"),
    ):
        assert main(list(more)) == 2
        assert says in capsys.readouterr().err
