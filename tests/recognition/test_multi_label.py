"""Recognizers that give several labels for a clip, or none: each class has a probability and a threshold of its own."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import teinet
from teinet import Recognizer
from teinet.cli.main import main
from teinet.detection.scorer import make_scorer
from teinet.errors import CheckpointError, ConfigError
from teinet.export.exporting import export
from teinet.models.header import read_header
from teinet.models.probabilities import to_probabilities
from teinet.probing.probe_job import ProbeSettings, probe
from teinet.recognition.explanation import look_inside
from teinet.recognition.model_card import model_card
from teinet.serving.service import ServedModel
from tests.conftest import CLASSES
from tests.networks import small_recognizer, wake


def recognizer(thresholds: list[float]) -> Recognizer:
    one = small_recognizer()
    wake(one.model)
    header = {"multi_label": True, "thresholds": thresholds, "scores": {"val_map": 0.5}, "frame_interval": 0.1}
    return Recognizer(one.model, CLASSES, preprocessing=one.preprocessing, sampling=one.sampling, header=header)


@pytest.fixture
def clip(clips) -> Path:
    return clips / CLASSES[0] / "0.mp4"


@pytest.fixture
def scores(clip) -> np.ndarray:
    """The sigmoid of the logits, of the clip's only view."""
    net = recognizer([])
    return 1 / (1 + np.exp(-net.logits(net.decode(clip).frames)[0].astype(np.float64)))


@pytest.fixture
def weights(tmp_path, scores) -> Path:
    """A recognizer that finds the first and the last class in the clip, but not the second."""
    recognizer([scores[0] - 1e-3, scores[1] + 1e-3, scores[2] - 1e-3]).save(tmp_path / "several.safetensors")
    return tmp_path / "several.safetensors"


def test_the_sigmoid_is_that_of_each_class():
    logits = np.array([[-800.0, -1.0, 0.0, 2.0, 800.0]])
    assert to_probabilities(logits, multi_label=True) == pytest.approx(
        np.array([[0, 0.26894142, 0.5, 0.88079708, 1]]), abs=1e-7
    )
    views = np.array([[0.0, 2.0], [2.0, 4.0]])
    sigmoid = 1 / (1 + np.exp(-views))
    assert to_probabilities(views, "probabilities", multi_label=True) == pytest.approx(sigmoid.mean(0))
    assert to_probabilities(views, "logits", multi_label=True) == pytest.approx(1 / (1 + np.exp(-views.mean(0))))
    for odd in (np.nan, np.inf):
        with pytest.raises(CheckpointError, match="not finite"):
            to_probabilities(np.array([0.0, odd]), multi_label=True)


def test_a_prediction_has_all_classes_sorted_and_those_that_were_found(weights, scores, clip):
    net = Recognizer.load(weights)
    for found in (net(clip, top_k=1), *net.predict_many([clip])):
        assert found.scores == pytest.approx(scores, abs=1e-6)
        order = np.argsort(-scores)
        assert [name for name, _ in found.labels] == [CLASSES[i] for i in order], "top_k has no effect"
        assert found.thresholds == pytest.approx([net.thresholds[i] for i in order])
        assert {name for name, _ in found.found} == {CLASSES[0], CLASSES[2]} and CLASSES[1] not in repr(found)
    assert net.optimize().multi_label and len(net.embed(clip)) > 0
    assert recognizer([]).thresholds == (0.5, 0.5, 0.5)
    single = small_recognizer()(clip, top_k=2)
    assert single.found == () and len(single.labels) == 2 and "found" not in single.to_dict()["labels"][0]


def test_predict_shows_the_classes_above_their_thresholds(weights, scores, clip, tmp_path, capsys):
    assert main(["predict", str(weights), str(clip)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first, last = sorted((0, 2), key=lambda i: -scores[i])
    assert lines[1].endswith(f"{100 * scores[first]:.1f} %  {CLASSES[first]}") and lines[2].endswith(CLASSES[last])
    assert lines[3] == "" and "below" not in "".join(lines)
    assert main(["predict", str(weights), str(clip), "--json"]) == 0
    labels = json.loads(capsys.readouterr().out)[0]["labels"]
    assert {label["name"]: label["found"] for label in labels} == dict(zip(CLASSES, (True, False, True)))
    assert [set(label) for label in labels] == [{"name", "score", "threshold", "found"}] * 3
    assert main(["predict", str(weights), str(clip), "--output-format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in rows] == [CLASSES[first], CLASSES[last]]


def test_a_clip_of_no_class_shows_the_best_one_as_below(clip, scores, tmp_path, capsys):
    recognizer([1.0, 1.0, 1.0]).save(tmp_path / "none.safetensors")
    assert main(["predict", str(tmp_path / "none.safetensors"), str(clip)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith(f"{CLASSES[int(scores.argmax())]}  below its threshold, 100.0 %") and lines[2] == ""
    assert main(["predict", str(tmp_path / "none.safetensors"), str(clip), "--output-format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["label"] == row["score"] == row["error"] == ""


def test_a_test_measures_map_on_lists_with_several_labels(weights, clips, tmp_path, capsys):
    net = Recognizer.load(weights)
    labels = {0: "moving left|resting", 1: "moving right", 2: "", 3: "resting"}
    lines = ["path,label", *(f"{CLASSES[0]}/{i}.mp4,{label}" for i, label in labels.items())]
    (clips / "test.csv").write_text("\n".join(lines))
    words = ["test", str(weights), "--data", str(clips / "test.csv"), "--device", "cpu", "--workers", "0"]
    assert main([*words, "--output", str(tmp_path / "out"), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    found = np.stack([net(clips / CLASSES[0] / f"{i}.mp4").scores for i in labels])
    ranks = {name: np.argsort(np.argsort(-found[:, i])) + 1 for i, name in enumerate(CLASSES)}
    resting = sorted(ranks["resting"][[0, 3]])
    expected = {
        "moving left": 1 / ranks["moving left"][0], "moving right": 1 / ranks["moving right"][1],
        "resting": (1 / resting[0] + 2 / resting[1]) / 2,
    }  # fmt: skip
    assert numbers["average_precision"] == pytest.approx(expected)
    assert numbers["map"] == pytest.approx(np.mean(list(expected.values()))) and "top1" not in numbers
    assert main([*words, "--output", str(tmp_path / "out")]) == 0, "the scores on disk are those of this test"
    out = capsys.readouterr().out
    assert "mAP" in out and "top-1" not in out and "earlier test" in out and "confusion" not in out
    assert teinet.test(weights, clips / "test.csv", device="cpu", workers=0, output=tmp_path / "again").measure == "mAP"
    small_recognizer().save(tmp_path / "one.safetensors")
    with pytest.raises(ConfigError, match="gives one label for a clip"):
        teinet.test(tmp_path / "one.safetensors", clips / "test.csv", multi_label=True)


def test_ensembles_and_submissions_are_refused_before_testing(weights, clips, capsys):
    for words in ((weights, weights), (weights, "--submit", "answers.txt")):
        assert main(["test", *map(str, words), "--data", str(clips)]) == 2
        err = capsys.readouterr().err
        assert "gives several labels for a clip" in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["timeline", "watch", "explain", "export", "serve"])
def test_commands_that_give_one_class_refuse_it_in_a_line(command, weights, clip, capsys):
    assert main([command, str(weights), *([] if command in ("export", "serve") else [str(clip)])]) == 2
    err = capsys.readouterr().err.strip()
    assert "\n" not in err and err.endswith(
        f"{weights} gives several labels for a clip (multi-label); only predict, test and embed take it"
    )


def test_python_refuses_what_gives_one_class(weights, clip, clips, tmp_path):
    net = Recognizer.load(weights)
    for call in (
        lambda: net.detector(), lambda: net.stream(), lambda: make_scorer(net), lambda: look_inside(net, clip),
        lambda: export(net, tmp_path / "a.onnx"), lambda: net.optimize(engine="onnx"),
        lambda: teinet.pipeline(model=net), lambda: ServedModel(net),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"several.*\(multi-label\)"):
            call()
    from teinet.data.lists.data_config import DataConfig

    with pytest.raises(ConfigError, match=r"one class for a clip; for data\.multi_label"):
        probe(ProbeSettings(data=DataConfig(path=str(clips), multi_label=True)))


def test_the_file_says_it(weights, tmp_path, capsys):
    header = read_header(weights)
    assert header["multi_label"] is True and len(header["thresholds"]) == 3
    assert main(["info", str(weights)]) == 0 and "any number for a clip" in capsys.readouterr().out
    card = model_card(Recognizer.load(weights))
    assert "any number of 3 classes" in card and "mean average precision 50.0 % on the validation clips" in card
    with pytest.raises(ConfigError, match="2 thresholds for 3 classes"):
        recognizer([0.5, 0.5])
    for name, value in (("multi_label", 1), ("thresholds", ["a"]), ("thresholds", 0.5)):
        net = recognizer([])
        net.header[name] = value
        with pytest.raises(ConfigError, match=f"{name} (is|holds)"):
            net.save(tmp_path / "odd.safetensors")
