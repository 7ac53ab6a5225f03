"""The learning-rate finder: on a loss whose best rate is known, and by the command."""

from __future__ import annotations

import json

import pytest
import torch

from teinet.cli.main import main
from teinet.errors import ConfigError
from teinet.training import rate_finder
from teinet.training.rate_finder import find_rate
from teinet.training.recipe import Recipe
from tests.conftest import small
from tests.training.test_loss_curve import draw


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Two classes of six clips each."""
    return draw(tmp_path_factory.mktemp("squares") / "clips")


def recipe(clips, **settings) -> Recipe:
    small = {"model": "tsn_resnet10t", "pretrained": False, "frames": 2, "size": 32, "batch_size": 3, "workers": 0}
    return Recipe.load(data=str(clips), device="cpu", **{**small, **settings})


def test_a_rate_between_no_change_and_divergence_as_the_recipe_scales_it(squares):
    plain, scaled = (find_rate(recipe(squares, **{"optim.scale_lr": scale})) for scale in (False, True))
    assert plain.rates[0] == pytest.approx(1e-5) and len(plain.rates) == len(plain.losses) < 60  # it diverges
    assert plain.rate == pytest.approx(plain.rates[plain.place], rel=0.05) and 1e-4 < plain.rate < 0.1
    assert plain.losses == scaled.losses and scaled.rate == pytest.approx(plain.rate * 64 / 3, rel=0.1)


def test_a_loss_that_never_falls_is_an_error(clips, monkeypatch):
    monkeypatch.setattr(rate_finder, "STEPS", 12)
    monkeypatch.setattr(
        "teinet.training.module.TrainingModule._loss",
        lambda self, logits, targets, frames: 0 * logits.sum() + 2 + torch.tensor(float(self.global_step)),
    )
    with pytest.raises(ConfigError, match="the loss does not fall at any rate"):
        find_rate(recipe(clips))


def test_a_loss_that_is_no_number_ends_the_search(squares, monkeypatch):
    def loss(self, logits, targets, frames):
        step = self.trainer.global_step
        return 0 * logits.sum() + 2 - 0.05 * step + (float("nan") if step > 20 else 0)

    monkeypatch.setattr("teinet.training.module.TrainingModule._loss", loss)
    found = find_rate(recipe(squares))
    assert len(found.losses) == 21 and all(loss == loss for loss in found.losses)


def test_the_command_prints_the_rate_and_draws_the_losses(squares, tmp_path, capsys):
    words = small(squares, "--model", "tsn_resnet10t", "--output", tmp_path / "runs", "--find-lr")
    assert main(["train", *words]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("take --lr ")
    assert (tmp_path / "runs" / "learning_rate.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["learning_rate.png"]
    assert main(["train", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rate"] > 0
    assert main(["train", *words, "--dry-run"]) == 2
