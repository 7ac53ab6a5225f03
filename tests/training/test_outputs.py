"""What a run leaves behind, and what later commands take from it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from teinet.cli.main import main
from teinet.cli.train import parse_recipe
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import to_clips
from teinet.training.run_dir import read_log
from tests.conftest import CLASSES


def test_tensorboard_holds_whole_epochs(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, run, _ = train()
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    log = read_log(run / "log.csv")
    for name in ("loss", "top1", "lr", "data_share"):
        values = [event.value for event in events.Scalars(f"epoch/{name}")]
        assert values == pytest.approx([float(row[name]) for row in log], rel=1e-5) and code == 0


def test_the_best_weights_are_those_of_the_best_validation(train):
    _, run, _ = train("--epochs", 4)
    best = max(read_log(run / "log.csv"), key=lambda row: (float(row["val_top1"]), -int(row["epoch"])))
    with safe_open(run / "best.safetensors", "pt") as file:
        scores = json.loads(file.metadata()["teinet"])["scores"]
    assert scores["epoch"] == int(best["epoch"])
    assert scores["val_top1"] == pytest.approx(float(best["val_top1"]), abs=1e-5)


def test_another_number_of_frames_than_the_weights(train, tmp_path):
    assert train("--epochs", 1)[0] == 0
    first = tmp_path / "run" / "last.safetensors"
    # T is no part of any weight: fine-tuning may take another, and the new weights say so
    code = train("--name", "fine", "--weights", first, "--frames", 4, "--epochs", 1)[0]
    assert code == 0
    from teinet import Recognizer
    from teinet.errors import ConfigError

    recognizer = Recognizer.load(tmp_path / "fine" / "last.safetensors")
    assert recognizer.num_frames == 4
    with pytest.raises(ConfigError, match="set_num_frames"):
        recognizer.model(torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8))


def test_the_log_names_the_rate_that_was_used(train):
    code, run, _ = train("--epochs", 3, "--optim.milestones", "[1, 2]", "--lr", 0.64)
    assert code == 0
    assert [float(row["lr"]) for row in read_log(run / "log.csv")] == pytest.approx([0.03, 0.003, 0.0003])
    facts = json.loads((run / "run.json").read_text())
    assert facts["learning_rate"] == pytest.approx(0.64 * 3 / 64) and facts["seed"] == 0
    assert facts["data"]["val"]["clips"] == 3 and "finished" in facts


def test_the_last_weights_load_and_carry_the_recipe(train, clips):
    _, run, _ = train()
    from teinet import Recognizer

    recognizer = Recognizer.load(run / "last.safetensors")
    assert list(recognizer.class_names) == sorted(p.name for p in clips.iterdir())
    assert recognizer.header["scores"]["epoch"] == 2 and recognizer.header["recipe"]["optim"]["epochs"] == 2
    assert len(to_clips(read_listing(clips).rows, recognizer.class_names, source="")) == 12


def test_the_weights_remember_which_class_means_nothing(train):
    code, _, said = train("--epochs", 1, "--run.nothing", f"[{CLASSES[2]}x]")
    assert code == 2 and f"run.nothing: there is no class '{CLASSES[2]}x'. Did you mean '{CLASSES[2]}'?" in str(said)
    code, run, _ = train("--epochs", 1, "--run.nothing", f"[{CLASSES[2]}]")
    from teinet import Recognizer

    assert code == 0 and Recognizer.load(run).nothing == (CLASSES[2],)


def test_fine_tuning_takes_the_network_of_the_weights(train, clips, tmp_path):
    pixels = ("--clip.fit", "squash", "--clip.size", "[32,48]")
    assert train("--model.gate", "residual", "--model.stages", "[4,5]", *pixels)[0] == 0
    words = ("--data", clips, "--weights", tmp_path / "run", "--epochs", 1, "--batch-size", 3)
    words = (*words, "--workers", 0, "--output", tmp_path, "--name", "fine", "--run.accelerator", "cpu")
    assert main(["train", *map(str, words)]) == 0
    recipe = parse_recipe(["--config", str(tmp_path / "fine" / "recipe.yaml")])[0]
    assert (recipe.model.name, recipe.model.num_frames) == ("teinet_resnet10t", 2)
    assert (recipe.model.gate, recipe.model.stages) == ("residual", [4, 5])
    assert (recipe.clip.fit, recipe.clip.size, recipe.clip.effective_short_side) == ("squash", [32, 48], 32)
