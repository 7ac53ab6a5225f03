"""What a run leaves behind, and what later commands take from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from teinet import Recognizer
from teinet.cli.main import main
from teinet.errors import ConfigError
from teinet.training.recipe import Recipe
from teinet.training.run_dir import read_log
from tests.conftest import CLASSES, small


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory) -> Path:
    """Four epochs of a network, frames, rates and a background class that are none of the defaults."""
    words = ("--model.gate", "residual", "--model.stages", "[4,5]", "--clip.fit", "squash", "--clip.size", "[32,48]")
    words = (*words, "--epochs", 4, "--optim.milestones", "[1, 2]", "--lr", 0.64, "--run.background", f"[{CLASSES[2]}]")
    output = tmp_path_factory.mktemp("outputs")
    assert main(["train", *small(clips, *words, "--output", output, "--name", "run")]) == 0
    return output / "run"


def test_tensorboard_holds_whole_epochs(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    log = read_log(run / "log.csv")
    for name in ("loss", "top1", "lr", "data_share"):
        values = [event.value for event in events.Scalars(f"epoch/{name}")]
        assert values == pytest.approx([float(row[name]) for row in log], rel=1e-5) and len(values) == 4


def test_the_best_weights_are_those_of_the_best_validation(run):
    best = max(read_log(run / "log.csv"), key=lambda row: (float(row["val_top1"]), -int(row["epoch"])))
    with safe_open(run / "best.safetensors", "pt") as file:
        scores = json.loads(file.metadata()["teinet"])["scores"]
    assert scores["epoch"] == int(best["epoch"])
    assert scores["val_top1"] == pytest.approx(float(best["val_top1"]), abs=1e-5)


def test_the_log_names_the_rate_that_was_used(run):
    rates = [float(row["lr"]) for row in read_log(run / "log.csv")]
    assert rates == pytest.approx([0.03, 0.003, 0.0003, 0.0003])
    facts = json.loads((run / "run.json").read_text())
    assert facts["learning_rate"] == pytest.approx(0.64 * 3 / 64) and facts["seed"] == 0
    assert facts["data"]["val"]["clips"] == 3 and "finished" in facts


def test_the_last_weights_load_and_carry_classes_and_recipe(run):
    recognizer = Recognizer.load(run)
    assert tuple(recognizer.class_names) == CLASSES and recognizer.background == (CLASSES[2],)
    assert recognizer.header["scores"]["epoch"] == 4 and recognizer.header["recipe"]["optim"]["epochs"] == 4


def test_a_background_class_that_is_none_is_refused(train):
    code, _, said = train("--run.background", f"[{CLASSES[2]}x]")
    assert code == 2 and f"run.background: there is no class '{CLASSES[2]}x'. Did you mean '{CLASSES[2]}'?" in str(said)


@pytest.mark.parametrize("frames", [None, 4], ids=["as it was", "another T"])
def test_fine_tuning_takes_the_network_of_the_weights(run, clips, tmp_path, frames):
    words = ("--data", clips, "--weights", run, "--epochs", 1, "--batch-size", 3, "--device", "cpu")
    words = (*words, "--model.backbone_weights", "not-read.pth")  # as in the recipe of a run that began with them
    words = (*words, "--workers", 0, "--output", tmp_path, "--name", "fine", *(("--frames", 4) if frames else ()))
    assert main(["train", *map(str, words)]) == 0
    recipe = Recipe.load(tmp_path / "fine" / "recipe.yaml")
    assert (recipe.model.name, recipe.model.num_frames) == ("teinet_resnet10t", frames or 2)
    assert (recipe.model.gate, recipe.model.stages) == ("residual", [4, 5])
    assert (recipe.clip.fit, recipe.clip.size, recipe.clip.effective_short_side) == ("squash", [32, 48], 32)
    if frames:  # T is no part of any weight, but the new weights say it
        recognizer = Recognizer.load(tmp_path / "fine")
        assert recognizer.num_frames == 4
        with pytest.raises(ConfigError, match="set_num_frames"):
            recognizer.model(torch.zeros(1, 2, 3, 32, 48, dtype=torch.uint8))
