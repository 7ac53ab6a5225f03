"""Averaged weights, early ends, more epochs, teachers, loggers, balanced classes: whole runs on tiny drawn clips."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

import teinet
from teinet.data.dataset import EpochSampler, TrainingClips
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation
from teinet.errors import ConfigError
from teinet.models.factory import create_model
from teinet.training import trainer
from teinet.training.optim import parameter_groups
from teinet.training.run_dir import read_log
from teinet.training.setup import prepare

SMALL = {
    "backbone": "resnet10t",
    "model.pretrained": False,
    "workers": 0,
    "device": "cpu",
    "batch_size": 3,
    "frames": 2,
}
SMALL |= {"size": 32, "epochs": 2}


def run(clips, folder: Path, **settings):
    return teinet.train(clips, **{**SMALL, "output": str(folder), **settings})


def own_clips() -> TensorDataset:
    """Six bright or dark clips of one's own, and none held out."""
    data: Any = TensorDataset(torch.zeros(6, 2, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1] * 3))
    data.classes = ("dark", "bright")
    return data


class Weights(Callback):
    """Notes the last layer's bias after each step."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.seen.append(module.model.head.bias.detach().clone())


def test_averaged_weights_are_those_that_are_saved(clips, tmp_path):
    """Each step adds a tenth of its weights to nine tenths of the average, which begins with those of the first."""
    observer = Weights()
    settings = {**SMALL, "output": str(tmp_path), "optim.ema": 0.9}
    done = teinet.train(clips, callbacks=[observer], **settings)
    average = observer.seen[0]
    for bias in observer.seen[1:]:
        average = 0.9 * average + 0.1 * bias
    saved = load_file(done.folder / "last.safetensors")
    (name,) = [key for key in saved if key.endswith(("fc.bias", "classifier.bias", "head.bias"))]
    torch.testing.assert_close(saved[name], average)
    assert not torch.allclose(observer.seen[-1], average)
    with pytest.raises(ConfigError, match=r"optim.ema averages the statistics"):
        run(clips, tmp_path, **{"optim.ema": 0.9, "optim.recompute_bn": 2})


def test_a_resumed_run_keeps_its_average(clips, tmp_path):
    whole = run(clips, tmp_path / "whole", **{"optim.ema": 0.9, "epochs": 3, "optim.schedule": "onecycle"})
    settings = {**SMALL, "optim.ema": 0.9, "epochs": 3, "optim.schedule": "onecycle", "output": str(tmp_path / "cut")}

    class Stop(Callback):
        def on_train_epoch_start(self, trainer, module) -> None:
            if trainer.current_epoch == 2:
                raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        teinet.train(clips, callbacks=[Stop()], **settings)
    (folder,) = (tmp_path / "cut").iterdir()
    resumed = teinet.train(resume=folder)
    one, other = (load_file(each.folder / "last.safetensors") for each in (whole, resumed))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, msg=name)


def test_a_finished_run_continues_for_more_epochs(clips, tmp_path):
    first = run(clips, tmp_path, **{"optim.schedule": "cosine"})
    rates = [float(row["lr"]) for row in read_log(first.folder / "log.csv")]
    longer = teinet.train(resume=first.folder, epochs=4)
    log = read_log(longer.folder / "log.csv")
    assert [row["epoch"] for row in log] == ["1", "2", "3", "4"] and [float(row["lr"]) for row in log[:2]] == rates
    # half of the four epochs are behind it: the schedule is that of four
    fresh = run(clips, tmp_path / "fresh", **{"optim.schedule": "cosine", "epochs": 4})
    assert [row["lr"] for row in log[2:]] == [row["lr"] for row in read_log(fresh.folder / "log.csv")[2:]]
    assert teinet.train(resume=first.folder).log == longer.log  # finished again, with four epochs
    assert "finished" in json.loads((first.folder / "run.json").read_text())
    with pytest.raises(ConfigError, match=r"it has 4 epochs|has 4 epochs"):
        teinet.train(resume=first.folder, epochs=3)


def test_a_run_ends_when_nothing_gets_better(clips, tmp_path, capsys):
    done = run(clips, tmp_path, epochs=6, lr=1e-9, **{"optim.patience": 2, "optim.freeze_bn": "all"})
    assert [int(row["epoch"]) for row in read_log(done.folder / "log.csv")] == [1, 2, 3]
    assert "ended after epoch 3 of 6: val top-1 did not rise in the last 2 validations" in capsys.readouterr().out
    longer = teinet.train(resume=done.folder, epochs=9, **{"optim.patience": 3})
    assert [int(row["epoch"]) for row in read_log(longer.folder / "log.csv")] == [1, 2, 3, 4, 5, 6]  # three more
    assert "ended after epoch 6 of 9" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"optim.patience needs validation clips"):
        run(own_clips(), tmp_path, **{"optim.patience": 2})


def test_a_network_learns_from_teachers(clips, tmp_path):
    teacher = run(clips, tmp_path / "teacher")
    alone = run(clips, tmp_path / "alone", seed=1)
    taught = run(clips, tmp_path / "taught", seed=1, **{"optim.teachers": [str(teacher.folder)], "optim.distill": 0.9})
    assert taught.log[0]["loss"] != alone.log[0]["loss"]
    assert set(load_file(taught.folder / "last.safetensors")) == set(load_file(alone.folder / "last.safetensors"))
    with pytest.raises(ConfigError, match=r"has num_frames 2, the network that it teaches 3"):
        run(clips, tmp_path, frames=3, **{"optim.teachers": [str(teacher.folder)]})
    with pytest.raises(ConfigError, match=r"optim.distill 0.9 has no effect with no optim.teachers"):
        run(clips, tmp_path, **{"optim.distill": 0.9})
    with pytest.raises(ConfigError, match="fights has other classes than the training clips"):
        run(clips, tmp_path, **{"optim.teachers": ["fights"]})


def test_loggers_by_name(clips, tmp_path):
    done = run(clips, tmp_path, **{"run.loggers": ["csv"]})
    with (done.folder / "csv" / "version_0" / "metrics.csv").open() as file:
        losses = [row["epoch/loss"] for row in csv.DictReader(file) if row["epoch/loss"]]
    assert len(losses) == 2 and not (done.folder / "tensorboard").exists()
    teinet.train(resume=done.folder, epochs=3)
    assert {path.name for path in (done.folder / "csv").iterdir()} == {"version_0", "version_1"}
    with pytest.raises(ConfigError, match=r"run.loggers mlflow needs the package mlflow: pip install mlflow"):
        run(clips, tmp_path, **{"run.loggers": ["mlflow"]})
    with pytest.raises(ConfigError, match=r"run.loggers"):
        run(clips, tmp_path, **{"run.loggers": ["tensorbord"]})


def test_services_get_the_same_log_after_a_resume(tmp_path, monkeypatch):
    """Checked by hand with both packages, which are not installed here."""
    asked = []

    class Service:
        def __init__(self, *args, **options):
            asked.append(options)
            self.run_id = options.get("run_id") or "id-of-mlflow"

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MLFlowLogger", "WandbLogger"):
        monkeypatch.setattr(trainer, name, Service)
    for name in ("mlflow", "mlflow", "wandb"):
        trainer._logger(name, tmp_path)
    assert [options["run_id"] for options in asked[:2]] == [None, "id-of-mlflow"]
    assert asked[0]["tracking_uri"] == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert asked[2]["version"] is None
    for name in ("offline-run-20261201_061415-older", "run-20261201_071415-my-own-id"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    trainer._logger("wandb", tmp_path)
    assert asked[3]["version"] == "my-own-id"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")  # another server has another run
    trainer._logger("mlflow", tmp_path)
    assert (asked[4]["tracking_uri"], asked[4]["run_id"]) == ("http://127.0.0.1:5000", None)


@pytest.mark.parametrize("setting", ["mixup", "cutmix", "teachers"])
def test_a_loss_of_ones_own_refuses_what_it_would_ignore(clips, setting):
    value = ["fights"] if setting == "teachers" else 0.5
    with pytest.raises(ConfigError, match=f"optim.{setting} has no effect with a loss of your own"):
        teinet.train(clips, loss=lambda logits, labels: logits.sum(), **{**SMALL, f"optim.{setting}": value})


def test_a_dataset_of_ones_own_refuses_what_it_would_ignore(tmp_path):
    with pytest.raises(ConfigError, match=r"clip.blur has no effect on clips of a dataset of your own"):
        run(own_clips(), tmp_path, **{"clip.blur": 0.5})
    with pytest.raises(ConfigError, match=r"optim.balance needs the labels of all training clips"):
        run(own_clips(), tmp_path, **{"optim.balance": "loss"})


def test_a_run_with_everything_trains(clips, tmp_path):
    settings = {"optim.mixup": 0.2, "optim.cutmix": 1.0, "optim.balance": "loss", "optim.layer_decay": 0.8}
    pixels = {"clip.rand_augment": 9, "clip.color_jitter": 0.4, "clip.blur": 0.3, "clip.erase": 0.3}
    done = run(clips, tmp_path, **settings, **pixels, **{"clip.min_part": 0.5, "clip.swap_background": 0.5})
    assert len(done.log) == 2 and all(np.isfinite(row["loss"]) for row in done.log)


def test_classes_are_drawn_equally_often():
    labels = np.array([0] * 90 + [1] * 10)
    shares = 1 / np.bincount(labels)[labels]
    sampler = EpochSampler(100, seed=0, shares=shares / shares.sum())
    drawn = [draw for epoch in range(20) for draw in (sampler.set_epoch(epoch), list(sampler))[1]]
    assert len(drawn) == 2000 and abs(np.mean(labels[[d.index for d in drawn]]) - 0.5) < 0.04
    assert len({d.seed for d in drawn}) == 2000  # a clip that is drawn twice is augmented twice


def test_layers_learn_the_slower_the_deeper_they_are(clips):
    parts = prepare(teinet.Recipe.load(**{**SMALL, "data": str(clips), "optim.layer_decay": 0.5}))
    assert parts is not None
    groups = parameter_groups(parts.model, parts.model.head, parts.recipe.optim, 1.0)
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    by_name = {name: rate[id(p)] for name, p in parts.model.named_parameters()}
    weights = {name: lr for name, lr in by_name.items() if name.endswith("conv2.weight") and "mem" not in name}
    ladder = list(weights.values())
    assert ladder == sorted(ladder) and ladder[-1] == 2 * ladder[-2]
    assert by_name["cnn.fc.weight"] == 5.0  # head_lr_scale alone
    system = create_model("s3dg", num_classes=3, num_frames=8)
    with pytest.raises(ConfigError, match="layer_decay needs a backbone of timm"):
        parameter_groups(system, system.head, parts.recipe.optim, 1.0)


def test_pixels_change_alike_in_all_frames_and_by_the_seed_alone():
    still = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8).expand(4, -1, -1, -1).contiguous()
    setting: dict[str, Any]
    for setting in ({"color_jitter": 0.5}, {"rand_augment": 15}, {"blur": 1.0}, {"erase": 1.0}):
        augmentation = Augmentation(**setting)
        state = torch.get_rng_state()
        one, again, other = (augmentation.change_pixels(still, seed) for seed in (1, 1, 2))
        assert (torch.get_rng_state() == state).all()
        assert (one == again).all() and (one != other).any() and (one != still).any()
        assert one.dtype == torch.uint8 and (one == one[:1]).all()
    assert Augmentation().change_pixels(still, 1) is still
    wrong: dict[str, Any] = {"color_jitter": 1.5, "rand_augment": 31, "blur": -0.1, "erase": 2, "min_part": 0}
    for name, value in wrong.items():
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            Augmentation(**{name: value})


@pytest.mark.parametrize("strategy", ["sparse", "dense"])
def test_a_part_of_a_clip_is_drawn(strategy):
    sampling = Sampling(num_frames=4, strategy=strategy, window=64)
    rng = np.random.default_rng(0)
    spans = [np.ptp(sampling.train(640, rng, 0.25)) for _ in range(300)]
    longest = 640 if strategy == "sparse" else 64
    assert min(spans) < 0.25 * longest < 0.6 * longest < max(spans)
    assert all(0 <= i < 5 for _ in range(50) for i in sampling.train(5, rng, 0.25))
    same = [sampling.train(640, np.random.default_rng(1), part) for part in (1.0, 1.0)]
    assert (same[0] == same[1]).all()


def test_augmented_clips_keep_their_form(clips):
    parts = prepare(teinet.Recipe.load(**{**SMALL, "data": str(clips), "clip.rand_augment": 9}))
    assert parts is not None and isinstance(parts.data.train, TrainingClips)
    draw = next(iter(EpochSampler(9, seed=0)))
    clip: torch.Tensor = parts.data.train[draw][0]  # pyright: ignore
    assert clip.shape == (2, 3, 32, 32) and clip.dtype == torch.uint8
    parts.data.train.augmentation = replace(parts.data.train.augmentation, rand_augment=0)
    assert (clip != parts.data.train[draw][0]).any()  # pyright: ignore
