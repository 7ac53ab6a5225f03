"""Settings chosen by the clips and the machine: each with its reason, and none against a setting that was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import teinet
from teinet.cli.main import main
from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.splits import load_splits
from teinet.evaluation.hardware import Hardware
from teinet.training import choice
from teinet.training.choice import choose, in_lines
from teinet.training.recipe import Recipe
from tests.conftest import CLASSES


def chosen(data, *, given=(), **settings) -> dict:
    recipe, found = choose(Recipe.load(data=str(data), **{"device": "cpu", **settings}), given)
    for each in found:
        section, name = each.setting.split(".")
        assert getattr(getattr(recipe, section), name) == each.value and each.reason
    recipe.check()
    return {each.setting: each.value for each in found}


def copied(clips: Path, folder: Path, header: str, *columns) -> Path:
    """A list of the drawn clips with further columns."""
    rows = [header]
    for number, path in enumerate(sorted(clips.rglob("*.mp4"))):
        rows.append(",".join([str(path), path.parent.name, *(str(column(number)) for column in columns)]))
    (file := folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return file


def test_few_clips_on_a_processor(clips):
    found = chosen(clips)
    assert found["model.name"] == "teinet_tf_efficientnet_lite0" and found["model.gate"] == "residual"
    assert found["optim.epochs"] == 30 and found["clip.size"] == 112
    assert not {"data.group", "clip.fit", "run.probe"} & set(found)  # three clips of a class are too few for a probe


def test_what_is_given_stands(clips):
    given = ("model.name", "optim.lr", "clip.short_side")
    found = chosen(clips, given=given, backbone="resnet18", lr=0.02, **{"clip.short_side": 300})
    assert not {"model.name", "optim.lr", "clip.size", "clip.fit"} & set(found)
    assert found["optim.epochs"] == 30
    assert "run.probe" not in chosen(clips, given=("model.pretrained",), pretrained=False)
    assert "model.gate" not in chosen(clips, given=("model.name",), model="tsn_resnet18")
    assert "optim.schedule" not in chosen(clips, given=("optim.warmup",), **{"optim.warmup": 2})
    assert chosen(clips, given=("model.name",), model="s3dg") == {}  # its authors' settings


def test_weights_to_start_from_bring_their_network(clips, capsys):
    found = chosen(clips, given=("model.weights",), weights="motion_pairs")
    assert found["optim.lr"] == 0.004 and found["optim.epochs"] == 15 and found["optim.freeze_bn"] == "all"
    assert not {"model.name", "model.gate", "clip.size", "run.probe", "optim.freeze_stages"} & set(found)
    assert main(["train", str(clips), "--weights", "motion_pairs", "--dry-run"]) == 0
    assert "(15 epochs)" in (said := capsys.readouterr().out) and "--optim.freeze_bn all" in said


def test_a_probe_is_fine_tuned_gently_in_its_last_stages(clips, monkeypatch):
    header = {"probe": {}, "class_names": list(CLASSES), "architecture": {"name": "tsn_resnet18"}}
    monkeypatch.setattr(choice, "read_header", lambda path: header)
    settings = {"given": ("model.weights",), "weights": "probe.safetensors"}
    found = chosen(clips, **settings, model="tsn_resnet18")
    assert found["optim.freeze_stages"] == 3 and found["optim.epochs"] == 8 and found["optim.batch_size"] == 8
    assert found["optim.lr"] * 8 / 64 == pytest.approx(0.0002) and found["clip.scales"] == [1.0]
    assert "optim.freeze_stages" not in chosen(clips, **settings, model="teinet_resnet18")  # modules that must learn
    header["class_names"] = ["other", "classes"]
    assert "optim.freeze_stages" not in chosen(clips, **settings, model="tsn_resnet18")  # a head that must learn


def test_a_column_of_people_is_kept_together(clips, tmp_path):
    file = copied(clips, tmp_path, "path,label,Person", lambda n: n % 5)
    quarter = {"data.val_share": 0.25}
    assert chosen(file, **quarter)["data.group"] == "Person"
    assert "data.group" not in chosen(file, given=("data.group",), **quarter)
    assert "data.group" not in chosen(file)  # four clips of a class do not fill five folds
    assert "data.group" not in chosen(
        copied(clips, tmp_path, "path,label,person,split", lambda n: n, lambda n: "train")
    )


def test_of_few_people_one_is_held_out(clips, tmp_path):
    """At random, clips of the same people would be validated on, where a head that learned the people looks best."""
    three = copied(clips, tmp_path, "path,label,subject", lambda n: n % 3)
    assert chosen(three)["data.group"] == "subject"
    config = DataConfig(path=str(three), group="subject")
    assert [len(set(part.groups)) for part in load_splits(config).values()] == [2, 1]
    assert "data.group" not in chosen(copied(clips, tmp_path, "path,label,subject", lambda n: n % 2))


def test_wide_frames_are_seen_whole(clips, monkeypatch):
    monkeypatch.setattr(choice, "typical_whole_frame", lambda clips, short, modality: (short, 199))
    found = chosen(clips)
    assert found["clip.size"] == [112, 199] and found["clip.fit"] == "squash"


def test_several_crops_need_squares(clips, monkeypatch):
    monkeypatch.setattr(choice, "typical_whole_frame", lambda clips, short, modality: (short, 199))
    assert "clip.fit" not in chosen(clips, **{"run.tests": ["1x1", "10x3"]})


def test_a_rate_by_hand_keeps_the_schedule(clips):
    found = chosen(clips, given=("optim.lr",), lr=0.1)
    assert "optim.lr" not in found and found["optim.schedule"] == "onecycle"
    recipe, _ = choose(Recipe.load(data=str(clips), device="cpu"), ())
    assert recipe.optim.learning_rate(1) == pytest.approx(0.01)


def test_a_column_that_would_hide_a_class_is_left(clips, tmp_path):
    """A class has a place of its own: were that held out, no clip of the class would be left to train on."""
    rows = ["path,label,group"]
    for number, path in enumerate(sorted(clips.rglob("*.mp4"))):
        place = "alone" if path.parent.name == "resting" else f"{path.parent.name}{number % 2}"
        rows.append(f"{path},{path.parent.name},{place}")
    (tmp_path / "places.csv").write_text("\n".join(rows))
    draws = [chosen(tmp_path / "places.csv", **{"data.val_share": 0.25, "data.seed": seed}) for seed in range(4)]
    assert all("data.group" not in found for found in draws)
    (tmp_path / "odd.csv").write_text("path,label,group\n" + "x" * 200_000 + ",a,b\n")
    assert choice._column(Recipe.load(data=str(tmp_path / "odd.csv"))) is None


def test_a_gpu_takes_the_papers_backbone_and_size(clips, monkeypatch):
    monkeypatch.setattr(Hardware, "torch_device", lambda self: "cuda:0")
    found = chosen(clips)
    assert found["model.name"] == "teinet_resnet50" and found["clip.size"] == 224


@pytest.mark.parametrize(
    ("copies", "epochs", "probe"), [(250, 8, False), (100, 8, True), (30, 22, True), (2500, None, False)]
)
def test_the_number_of_clips_decides(clips, monkeypatch, copies, epochs, probe):
    def many(config):
        splits = load_splits(config)
        train = splits["train"]
        splits["train"] = replace(train, paths=[*train.paths] * copies, labels=train.labels.repeat(copies))
        return splits

    monkeypatch.setattr(choice, "load_splits", many)
    found = chosen(clips)
    assert found.get("optim.epochs") == epochs and ("run.probe" in found) is probe


def test_reasons_are_printed_before_training_and_in_a_dry_run(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", str(clips), "--device", "cpu", "--workers", "0", "--size", "32", "--frames", "2"]
    assert main([*words, "--model", "teinet_resnet10t", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("chosen by the clips and this machine (any setting that you give stands):\n")
    assert "--optim.epochs 30 " in said and "9 training clips of 3 classes: each is seen 30 times" in said
    assert "--model.name" not in said.split("clips ")[0]
    settings = {
        "model": "teinet_resnet10t",
        "pretrained": False,
        "size": 32,
        "frames": 2,
        "workers": 0,
        "device": "cpu",
    }
    run = teinet.train(clips, epochs=1, **settings)
    assert "chosen by the clips" in capsys.readouterr().out and len(run.log) == 1
    assert in_lines([]) == ""


def test_a_list_is_warned_about_once(clips, tmp_path, caplog, monkeypatch):
    """The choice reads the list before the run does."""
    monkeypatch.chdir(tmp_path)
    list_ = copied(clips, tmp_path, "path,label")
    path, _, label = list_.read_text().splitlines()[1].rpartition(",")
    with list_.open("a") as file:
        file.write(f"{path},{label.upper()}\n")
    assert main(["train", str(list_), "--dry-run", "--model.pretrained", "false"]) == 0
    assert caplog.text.count("two labels of") == 1
