"""What goes wrong in a run: one clear line, the right exit code, and nothing lost of what was computed."""

from __future__ import annotations

import csv
import errno
import json
import re
import shutil
from pathlib import Path
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from teinet.cli.main import main
from teinet.cli.train import parse_recipe
from teinet.training.module import TrainingModule
from teinet.training.run_dir import read_log
from teinet.training.setup import prepare
from teinet.training.step_memory import step_memory
from tests import miniatures
from tests.conftest import small


def test_a_loss_that_is_no_number(train, clips):
    code, _, lines = train("--lr", 1e30, "--optim.scale_lr", "false", "--optim.milestones", "[9]")
    assert code == 1 and len(lines) == 1
    assert "the loss is" in lines[0] and "learning rate 1e+30" in lines[0] and "at step 1 " in lines[0]
    named = lines[0].split("these clips: ")[1].split(", ")
    assert len(named) == 3 and set(named) < {str(p) for p in clips.rglob("*.mp4")}


def test_what_was_computed_before_a_bad_loss_is_kept(train, monkeypatch):
    step = TrainingModule.training_step

    def poison(self, batch, batch_idx):
        if self.current_epoch == 1:
            with torch.no_grad():
                self.model.head.bias.fill_(torch.nan)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", poison)
    code, run, lines = train()
    assert code == 1 and "the loss is nan at step 3 (epoch 2)" in lines[0]
    assert [row["epoch"] for row in read_log(run / "log.csv")] == ["1"]
    assert torch.load(run / "resume.ckpt", weights_only=True)["global_step"] == 3
    assert all(v.isfinite().all() for v in load_file(run / "last.safetensors").values())


def test_weights_broken_by_the_last_step_are_not_kept(train):
    """One step an epoch: its loss is that of the weights before it."""
    code, run, lines = train("--lr", 1e30, "--optim.scale_lr", "false", "--epochs", 1, "--batch-size", 9)
    assert code == 1 and len(lines) == 1 and "scores are not finite" in lines[0] and "1e+30" in lines[0]
    assert not any((run / name).exists() for name in ("last.safetensors", "best.safetensors", "resume.ckpt"))


@pytest.fixture
def listed(clips, tmp_path) -> Path:
    """The drawn clips and two that cannot be read, for training."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty.mp4").touch()
    lines = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *lines, "broken.mp4,resting", "empty.mp4,resting"]))
    return tmp_path / "clips.csv"


def test_unreadable_clips_are_skipped_listed_and_counted(train, listed):
    code, run, lines = train("--data.val_share", 0, "--run.max_unreadable", 0.2, data=listed)
    assert code == 0 and lines == []
    rows = list(csv.DictReader((run / "unreadable.csv").open()))
    assert sorted(Path(row["path"]).name for row in rows) == ["broken.mp4", "empty.mp4"]  # once each, not once an epoch
    assert all(row["reason"] for row in rows)
    facts = json.loads((run / "run.json").read_text())
    assert facts["unreadable"] == 2 and facts["data"]["train"]["clips"] == 14
    assert [row["epoch"] for row in read_log(run / "log.csv")] == ["1", "2"]


def test_unreadable_validation_clips_are_said_and_listed_and_stop_nothing(train, listed, caplog):
    rows = list(csv.DictReader(listed.open()))
    bad = [Path(row["path"]).stem in ("broken", "empty") for row in rows]
    # of the first class, which is also that of scores that are all zero
    lines = [f"{r['path']},{'moving left,val' if b else r['label'] + ',train'}" for r, b in zip(rows, bad)]
    listed.write_text("\n".join(["path,label,split", *lines, f"{rows[0]['path']},{rows[0]['label']},val"]))
    code, run, _ = train("--data.val_share", 0, "--run.max_unreadable", 0, data=listed)
    assert code == 0
    assert caplog.text.count("2 of 3 validation clips cannot be read and count as wrong") == 1  # of two epochs
    names = [Path(row["path"]).name for row in csv.DictReader((run / "unreadable.csv").open())]
    assert sorted(names) == ["broken.mp4", "empty.mp4"]
    assert all(float(row["val_top1"]) < 0.34 for row in read_log(run / "log.csv")), "unreadable clips count as right"


def test_a_run_without_a_readable_clip_has_no_epoch(train, tmp_path, capfd):
    for label in ("a", "b"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        (tmp_path / "videos" / label / "1.mp4").write_bytes(b"no video")
    code, run, lines = train("--data.val_share", 0, "--run.max_unreadable", 0.5, data=tmp_path / "videos")
    assert code == 1 and "2 of 2 training clips cannot be read" in lines[-1]
    assert read_log(run / "log.csv") == []


@pytest.fixture
def cut(tmp_path) -> Path:
    """A clip of 100 frames whose last few are missing."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    path = miniatures.encode(tmp_path / "cut.mp4", noise, options={"g": "1"}, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(0.95 * path.stat().st_size)])
    return path


def test_damaged_clips_are_used_named_and_listed(train, clips, cut, caplog):
    lines = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    cut.with_name("clips.csv").write_text("\n".join(["path,label", *lines, "cut.mp4,resting"]))
    words = ("--data.val_share", 0, "--run.max_unreadable", 0.2)
    code, run, _ = train(*words, data=cut.with_name("clips.csv"))
    assert code == 0 and not (run / "unreadable.csv").exists()
    assert caplog.text.count("cut.mp4: ") == 1 and "frames cannot be decoded whole (cut off: " in caplog.text
    ((name, damage),) = [tuple(row.values()) for row in csv.DictReader((run / "damaged.csv").open())]
    assert Path(name).name == "cut.mp4" and re.match(r"[4-9] of 100 frames cannot be decoded whole", damage)
    train(*words, "--data.max_damaged", 0.01, "--name", "strict", data=cut.with_name("clips.csv"))
    assert "cut.mp4,cut off: frame" in (run.with_name("strict") / "unreadable.csv").read_text()
    split = ["path,label,split", *(f"{line},train" for line in lines), "cut.mp4,resting,val"]
    cut.with_name("clips.csv").write_text("\n".join(split))
    train("--name", "validated", data=cut.with_name("clips.csv"))
    assert (run.with_name("validated") / "damaged.csv").read_text() == (run / "damaged.csv").read_text()


def test_too_many_unreadable_clips_stop_the_run(train, listed):
    code, run, lines = train("--data.val_share", 0, "--run.max_unreadable", 0.1, "--epochs", 1, data=listed)
    assert code == 1 and len(lines) == 1
    assert "2 of 14 training clips cannot be read" in lines[0]
    enough = lines[0].rpartition("--run.max_unreadable ")[2]
    assert 2 / 14 <= float(enough) < 1
    assert len(list(csv.DictReader((run / "unreadable.csv").open()))) == 2
    assert main(["train", "--resume", str(run), "--run.max_unreadable", enough]) == 0  # as the message says
    assert (run / "last.safetensors").exists()


def test_a_resume_with_another_setting_names_the_command_that_trains_on(train, clips, capfd):
    code, run, _ = train("--epochs", 1)
    assert code == 0 and main(["train", "--resume", str(run), "--clip.crop", "center", "--lr", "0.1"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    advice = f"teinet train {clips} --weights {run} --clip.crop center --optim.lr 0.1"
    assert f"start from its weights: {advice} (--resume takes only run.max_unreadable, " in line
    words = ["--output", str(run.parent), "--epochs", "3", "--batch-size", "3", "--workers", "0", "--device", "cpu"]
    assert main([*advice.split()[1:3], *advice.split()[3:], *words]) == 0
    assert len(read_log(run.parent / "clips-from-run-1" / "log.csv")) == 3


def test_a_batch_without_any_readable_clip_is_survived(train, tmp_path, clips):
    good = sorted(clips.rglob("*.mp4"))[:2]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "clips.csv").write_text(f"path,label\n{good[0]},a\nbad.mp4,a\n{good[1]},b\n")
    words = ("--data.val_share", 0, "--run.max_unreadable", 1, "--batch-size", 1, "--epochs", 1)
    code, run, _ = train(*words, data=tmp_path / "clips.csv")
    assert code == 0 and all(v.isfinite().all() for v in load_file(run / "last.safetensors").values())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--optim.lrr", "1"), "Did you mean '--optim.lr'"),
        (("--optim.schedule", "cosin"), "optim.schedule is 'cosin'; it must be one of step, cosine, onecycle"),
        (("--optim.lr", "fast"), "optim.lr is 'fast'; it must be a number"),
        (("--model.gate", "papre"), "it must be one of paper, residual. Did you mean 'paper'"),
        (("--optim.freeze_bn", "all", "--optim.recompute_bn", "2"), "set one"),
        (("--optim.freeze_stages", "3"), "untrained gates of stage 2, 3; set model.stages"),
        (("--clip.short_side", "16"), "clip.size is 32; it must be from 1 to short_side (16)"),
        (("--clip.fit", "squash", "--run.tests", "[10x3]"), "of which there is one crop; use 10x1"),
        (("--clip.fit", "squash", "--clip.short_side", "64"), "with fit squash it must be 32, as in size"),
        (("--model", "teinet_resnet5"), "Did you mean 'resnet50'"),
        (("--data", "nowhere"), "nowhere: no such file or folder"),
        (("--data.classes", "[resting]"), "is not one of the 1 classes"),
        (("stray",), "'stray' is neither a recipe"),
        (("nowhere.yaml",), "there is no recipe"),
        ("optim:\n  lrr: 0.1\n", "there is no setting 'optim.lrr'. Did you mean 'optim.lr'"),
        ("epochs: 3\n", "Did you mean 'optim.epochs'"),
        ("optim: [1\n", "no valid YAML"),
        ("", "is no recipe"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words_or_recipes_end_in_one_line(train, words, says):
    code, run, lines = train(*words) if isinstance(words, tuple) else train(recipe=words)
    assert code == 2 and len(lines) == 1 and says in lines[0] and lines[0].startswith("teinet train: ")
    assert not run.exists(), "a run's folder was left behind"


def test_a_recipe_is_overruled_by_the_command_line(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yml"
    first.write_text("optim:\n  lr: 0.5\n  epochs: 7\nmodel:\n  name: tsn_resnet18\n")
    second.write_text("optim:\n  epochs: 8\n")
    asked = parse_recipe([str(first), "--model.pretrained=false", str(second), "--optim.lr", "0.25"])
    recipe = asked.recipe
    assert (recipe.optim.lr, recipe.optim.epochs, recipe.model.name) == (0.25, 8, "tsn_resnet18")
    assert recipe.model.pretrained is False
    assert parse_recipe(["--backbone", "resnet18"]).recipe.model.name == "teinet_resnet18"
    assert parse_recipe(["--backbone=resnet18", "--lr=3"]).recipe.optim.lr == 3
    assert parse_recipe(["--pretrained"]).recipe.model.pretrained is True


def test_classes_without_training_clips_are_said(clips, tmp_path, caplog):
    lines = [f"{p},{p.parent.name},{'val' if p.stem == '3' else 'train'}" for p in sorted(clips.rglob("*.mp4"))]
    lines[3] = lines[3].replace("moving left,", "moving lefft,")  # misspelled, and only to validate
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *lines]))
    words = [w for w in small(tmp_path / "clips.csv", "--output", tmp_path) if w not in ("--data.val_share", "0.25")]
    assert main(["train", *words, "--epochs", "1"]) == 0
    assert "1 of 4 classes have no training clips ('moving lefft')" in caplog.text


def test_a_random_split_that_changed_is_not_tested(clips, tmp_path, capsys):
    """Clips that were added since training change which ones are held out: some of them trained."""
    mine = tmp_path / "clips"
    shutil.copytree(clips, mine)
    assert main(["train", *small(mine, "--output", tmp_path, "--name", "run", "--epochs", 1)]) == 0
    test = ["test", str(tmp_path / "run"), "--workers", "0"]
    assert main(test) == 0
    shutil.copy(mine / "resting" / "0.mp4", mine / "resting" / "new.mp4")
    capsys.readouterr()
    assert main(test) == 2
    assert "was trained on" in capsys.readouterr().err
    assert main([*test, "--data", str(mine)]) == 0  # these clips, on purpose


def test_a_step_that_needs_more_memory_than_is_free_is_refused_with_one_that_fits(clips, capsys, monkeypatch, tmp_path):
    def refusal(free: float, *more: str) -> str:
        monkeypatch.setattr("teinet.training.step_memory.free_memory", lambda: free)
        assert main(["train", *small(clips, "--output", tmp_path / "runs"), *more]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "lower the size or the number of frames" in refusal(2**20)
    assert "a step of 3 clips needs about" in refusal(2**20, "--dry-run")
    fixed, clip = step_memory(prepare(parse_recipe(small(clips)).recipe))
    assert "a batch size of 2 fits (and optim.accumulate 2 keeps" in refusal(fixed + 2.5 * clip)
    assert not (tmp_path / "runs").exists()
    checkpointing = ["--optim.gradient_checkpointing", "blocks"]  # needs less; how much is not known
    assert main(["train", *small(clips, "--output", tmp_path / "runs"), *checkpointing, "--dry-run"]) == 0


def test_frozen_early_layers_keep_nothing_for_the_backward_pass(clips):
    def of_a_clip(*more: object) -> int:
        recipe = parse_recipe([*small(clips), "--model.name", "tsn_resnet18", *map(str, more)]).recipe
        return step_memory(prepare(recipe))[1]

    most = of_a_clip()
    assert of_a_clip("--optim.freeze_stages", 3) < 0.6 * most
    assert of_a_clip("--optim.freeze_backbone", "true") < 0.4 * most


def test_more_missing_clips_than_allowed_are_said_before_the_first_step(clips, tmp_path, capsys):
    rows = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows, f"{tmp_path}/gone.mp4,resting"]))
    words = small(tmp_path / "list.csv", "--output", tmp_path, "--name", "run")
    words = [word for word in words if word not in ("--data.val_share", "0.25")]
    assert main(["train", *words, "--data.val_share", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "missing: 1 of 13 training clips, " in line and "--data.missing drop" in line
    assert not (tmp_path / "run" / "log.csv").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--data.classes", "[resting, other]")])
def test_a_single_class_is_refused(clips, tmp_path, capsys, more):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "resting").symlink_to(clips / "resting")
    assert main(["train", *small(tmp_path / "one", "--output", tmp_path, *more)]) == 2
    assert "all training clips are of one class, 'resting'" in capsys.readouterr().err


def test_a_run_that_ended_before_its_first_state_begins_again_under_its_name(clips, capsys, tmp_path, monkeypatch):
    words = ["train", *small(clips, "--output", tmp_path, "--name", "run", "--epochs", 1)]

    def cut(*arguments):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            main(words)
    assert (tmp_path / "run" / "recipe.yaml").is_file() and not (tmp_path / "run" / "resume.ckpt").exists()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert main(words) == 2 and (tmp_path / "run" / "notes.txt").read_text() == "mine"
    (tmp_path / "run" / "notes.txt").unlink()
    assert main(words) == 0 and len(read_log(tmp_path / "run" / "log.csv")) == 1
    assert "resumed" not in json.loads((tmp_path / "run" / "run.json").read_text())
    assert main(words) == 2 and "continue it with --resume" in capsys.readouterr().err


def test_a_disk_that_fills_between_weights_and_state_is_no_run(clips, capsys, tmp_path, monkeypatch):
    words = ["train", *small(clips, "--output", tmp_path, "--name", "run", "--epochs", 2)]
    run = tmp_path / "run"
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(L.Trainer, "save_checkpoint", Mock(side_effect=full))
        assert main(words) == 1 and "No space left on device" in capsys.readouterr().err
    (run / "damaged.csv").write_text("path,reason\n")
    assert (run / "last.safetensors").exists() and not (run / "resume.ckpt").exists()
    assert main(words) == 0 and len(read_log(run / "log.csv")) == 2 and not (run / "damaged.csv").exists()
    for path in run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in (".lock", ".recipe.yaml.part", "mine.part"):  # a cut while the first file was written
        (run / name).touch()
    assert main(words) == 2 and (run / "mine.part").exists()
    (run / "mine.part").unlink()
    assert main(words) == 0 and len(read_log(run / "log.csv")) == 2
    (run / "resume.ckpt").unlink()  # to save space: the finished run stays
    assert main(words) == 2 and "holds files but no run to continue" in capsys.readouterr().err
