"""Training on clips with several labels, or none: target, loss, flips, mAP, thresholds, and what the weights say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import teinet
from teinet import Recognizer
from teinet.cli.main import main
from teinet.data.dataset import Draw, TrainingClips, collate
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.errors import ConfigError, Interrupted
from teinet.evaluation.multi_label import average_precision, best_thresholds
from teinet.training.callbacks import RunState
from teinet.training.recipe import Recipe
from teinet.training.run_dir import read_log
from teinet.training.setup import prepare
from tests.conftest import small

NAMES = {"moving left": "moving|left", "moving right": "right|moving", "resting": ""}


@pytest.fixture(scope="module")
def listed(clips) -> Path:
    """The drawn clips: those that move have two labels, those that rest none."""
    lines = [f"{folder}/{i}.mp4,{label}" for folder, label in NAMES.items() for i in range(4)]
    (clips / "several.csv").write_text("\n".join(["path,label", *lines]))
    return clips / "several.csv"


@pytest.fixture(scope="module")
def run(listed, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("multi_label")
    words = ("--multi-label", "true", "--epochs", 3, "--lr", 0.3, "--data.val_share", 0.5, "--run.tests", "1x1")
    assert main(["train", *small(listed, *words, "--output", output, "--name", "run")]) == 0
    return output / "run"


def header(file: Path) -> dict:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["teinet"])


def held_out(listed: Path, recognizer: Recognizer) -> tuple[np.ndarray, np.ndarray]:
    """The label sets of the validation clips, and the recognizer's scores."""
    clips = load_splits(DataConfig(path=str(listed), multi_label=True, val_share=0.5))["val"]
    assert clips.label_sets is not None
    return clips.label_sets, np.stack([recognizer(path).scores for path in clips.paths])


def test_the_log_has_map_in_place_of_top1(run):
    rows = read_log(run / "log.csv")
    assert list(rows[0]) == ["epoch", "step", "lr", "loss", "val_map", "val_loss", "seconds", "data_share"]
    assert all(0 < float(row["val_map"]) <= 1 for row in rows) and (run / "curves.png").is_file()


def test_the_weights_say_what_was_measured_of_them(run, listed):
    rows = read_log(run / "log.csv")
    for file, row in (
        ("last.safetensors", rows[-1]), ("best.safetensors", max(rows, key=lambda row: float(row["val_map"])))
    ):  # fmt: skip
        told = header(run / file)
        assert told["multi_label"] is True and told["class_names"] == ["left", "moving", "right"]
        assert told["scores"] == {"epoch": int(row["epoch"]), "val_map": pytest.approx(float(row["val_map"]), abs=1e-5)}
        truth, scores = held_out(listed, Recognizer.load(run / file))
        assert average_precision(truth, scores).mean() == pytest.approx(told["scores"]["val_map"], abs=1e-5)
        assert told["thresholds"] == pytest.approx(best_thresholds(truth, scores), abs=1e-5)
        loss = -np.where(truth, np.log(scores), np.log1p(-scores)).mean()
        assert loss == pytest.approx(float(row["val_loss"]), abs=1e-4)


def test_the_run_was_tested_on_its_validation_clips(run):
    numbers = json.loads((run / "test-1x1" / "metrics.json").read_text())
    assert numbers["map"] == pytest.approx(float(read_log(run / "log.csv")[-1]["val_map"]), abs=1e-5)


def test_progress_and_results_are_said_as_map(listed, tmp_path, capfd):
    words = ("--multi-label", "true", "--epochs", 1, "--output", tmp_path, "--name", "a", "--run.tests", "1x1")
    assert main(["train", *small(listed, *words)]) == 0
    out = capfd.readouterr().out
    assert "  val mAP " in out and "1x1 on 3 val clips: mAP " in out and "top-1" not in out
    words = ("--multi-label", "true", "--epochs", 1, "--output", tmp_path, "--name", "b", "--lr", 1e-9)
    words = (*words, "--optim.freeze_bn", "all")
    assert main(["train", *small(listed, *words, "--weights", tmp_path / "a")]) == 0
    out = capfd.readouterr().out
    assert "start          val mAP " in out
    assert header(tmp_path / "b" / "best.safetensors")["scores"]["epoch"] == 0


def test_the_loss_is_the_binary_cross_entropy_of_every_class(listed, tmp_path):
    recipe = Recipe.load(data=str(listed), multi_label=True, model="tsn_resnet10t", pretrained=False, frames=2, size=32)
    parts = prepare(recipe)
    assert parts is not None
    logits, labels = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]]), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    each = [np.log1p(np.exp(-x if y else x)) for x, y in zip(logits.flatten().tolist(), labels.flatten().tolist())]
    assert float(parts.module(tmp_path / "unreadable.csv").loss(logits, labels)) == pytest.approx(np.mean(each))


def test_a_flip_exchanges_every_label_with_a_direction(listed):
    clips = load_splits(DataConfig(path=str(listed), multi_label=True, val_share=0.0))["train"]
    pixels = Preprocessing(size=32, short_side=32)
    drawn = {
        flip: TrainingClips(clips, Sampling(num_frames=2), pixels, Augmentation(crop="center", hflip=flip))
        for flip in (False, True)
    }
    seen = set()
    for index in (0, 4, 8):  # left, right, rest
        for seed in range(8):
            (frames, label, _), (before, plain, _) = (drawn[flip][Draw(index, seed)] for flip in (True, False))
            flipped = bool((frames != before).any())
            assert not flipped or (frames == before.flip(-1)).all()
            assert label.tolist() == (plain.tolist()[::-1] if flipped else plain.tolist())  # left, moving, right
            seen.add((index, flipped, tuple(label.tolist())))
    assert seen == {
        (0, False, (1, 1, 0)), (0, True, (0, 1, 1)), (4, False, (0, 1, 1)), (4, True, (1, 1, 0)),
        (8, False, (0, 0, 0)), (8, True, (0, 0, 0)),
    }  # fmt: skip
    batch = collate([drawn[False][Draw(index, 0)] for index in (0, 8)])
    assert batch.labels.dtype == torch.float32 and batch.labels.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_a_class_without_its_flipped_one_is_not_flipped(listed, tmp_path):
    words = {"data": str(listed), "multi_label": True, "pretrained": False, "frames": 2, "size": 32}
    recipe = Recipe.load(**words, model="tsn_resnet10t", **{"clip.hflip": "auto"})
    parts = prepare(recipe)
    assert parts is not None and parts.data.train.flipped_labels == [2, 1, 0]
    (listed.parent / "one.csv").write_text(listed.read_text().replace("right|", ""))
    parts = prepare(Recipe.load(asdict(recipe), data=str(listed.parent / "one.csv")))
    assert parts is not None and parts.data.train.flipped_labels is None


def test_a_resumed_run_keeps_the_thresholds_of_its_last_validation(listed, tmp_path, monkeypatch):
    words = ("--multi-label", "true", "--epochs", 2, "--run.validate_every", 2, "--output", tmp_path, "--name", "run")
    assert main(["train", *small(listed, *words, "--lr", 0.3)]) == 0
    whole = header(tmp_path / "run" / "last.safetensors")
    save = RunState._save

    def stop(self, trainer):
        save(self, trainer)
        raise Interrupted("stopped")

    monkeypatch.setattr(RunState, "_save", stop)
    words = ("--multi-label", "true", "--epochs", 2, "--run.validate_every", 1, "--output", tmp_path, "--name", "again")
    assert main(["train", *small(listed, *words, "--lr", 0.3)]) != 0
    first = header(tmp_path / "again" / "last.safetensors")["thresholds"]
    state = torch.load(tmp_path / "again" / "resume.ckpt", weights_only=True)
    assert state["thresholds"] == first and first != [0.5] * 3
    monkeypatch.setattr(RunState, "_save", save)
    assert main(["train", "--resume", str(tmp_path / "again")]) == 0
    assert header(tmp_path / "again" / "last.safetensors")["thresholds"] == pytest.approx(whole["thresholds"], abs=1e-5)


def test_settings_that_do_not_fit_are_refused(clips):
    (clips / "split.csv").write_text("path,label,split\nmoving left/0.mp4,a|b,train\nmoving left/1.mp4,,val\n")
    recipe = Recipe.load(data=str(clips / "split.csv"), multi_label=True, pretrained=False)
    with pytest.raises(ConfigError, match="no validation clip has a class"):
        prepare(recipe)
    with pytest.raises(ConfigError, match=r"label_smoothing 0\.1 has no effect with data\.multi_label true"):
        prepare(Recipe.load(asdict(recipe), **{"optim.label_smoothing": 0.1}))


def test_lists_of_clips_in_python_have_label_sets(listed, clips, tmp_path):
    several = dict(load_splits(DataConfig(path=str(listed), multi_label=True, val_share=0.5)))
    one = dict(load_splits(DataConfig(path=str(clips), val_share=0.5)))
    how = {"model": "tsn_resnet10t", "pretrained": False, "frames": 2, "size": 32, "epochs": 1, "batch_size": 3}
    how |= {"workers": 0, "device": "cpu", "output": str(tmp_path)}
    assert teinet.train(several, multi_label=True, **how).log[-1]["val_map"] > 0
    for data, asked in ((several, False), (one, True), ({**several, "val": one["val"]}, True)):
        with pytest.raises(ConfigError, match=r"data\.multi_label is|other classes"):
            teinet.train(data, multi_label=asked, **how)
