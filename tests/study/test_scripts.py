"""The scripts beside the studies: one makes a file that ships, one compares a cell that was run again."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
import yaml

import teinet
from teinet.models.checkpoint import LAST, load_weights, save_weights
from teinet.study.plan import Study
from teinet.study.results import read_result

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "evidence"
CARD = {"title": "two motions", "data": "drawn", "licence": "MIT", "figures": "80 % of 40 clips", "not_for": "deciding"}


@pytest.fixture
def trained(tmp_path):
    """A run's folder with a network, and its network."""
    torch.manual_seed(0)
    model = teinet.create_model("teinet_test_resnet", num_classes=2, num_frames=4)
    recipe = {
        "data": {"path": "/home/ann/clips.csv"},
        "model": {"name": "teinet_test_resnet", "backbone_weights": "/home/ann/b.safetensors"},
        "optim": {"epochs": 8},
        "run": {"output": "/home/ann/runs"},
    }
    save_weights(tmp_path / "run" / LAST, model, {"class_names": ["left", "right"], "recipe": recipe})
    return tmp_path / "run", model


def ship(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ship.py", *map(str, words)])
    runpy.run_path(str(SCRIPTS / "ship.py"), run_name="__main__")


def test_what_ships_is_half_as_large_and_tells_nothing_of_its_makers_disk(trained, tmp_path, monkeypatch):
    run, model = trained
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
    ship(monkeypatch, run, "motions", tmp_path / "card.yaml", "--output", tmp_path / "out")
    target = tmp_path / "out" / "motions.safetensors"
    assert target.stat().st_size < 0.6 * (run / LAST).stat().st_size
    assert b"/home/ann" not in target.read_bytes()
    loaded, header = load_weights(target)
    assert header["licence"] == "MIT" and header["card"] == {k: v for k, v in CARD.items() if k != "licence"}
    assert header["recipe"]["optim"] == {"epochs": 8} and header["class_names"] == ["left", "right"]
    clip = torch.randn(1, 4, 3, 32, 32)
    torch.testing.assert_close(loaded(clip), model.eval()(clip), rtol=0.01, atol=0.01)


def test_each_folds_recipe_is_chosen_by_the_clips_of_the_other(tmp_path, monkeypatch, capsys):
    """Of folds 1 and 2, `calm` is right in all of 1 and none of 2, `hot` the other way round: each wins the other's."""
    listing = tmp_path / "clips.csv"
    listing.write_text("path,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2\n")
    monkeypatch.setattr(sys, "argv", ["choose.py", str(listing), "--studies", "calm", "hot"])
    script = runpy.run_path(str(SCRIPTS / "choose.py"))
    for name, predicted in (("calm", [0, 1, 1, 0]), ("hot", [1, 0, 0, 1])):
        cell = {
            "cell": {"network": "TSM"},
            "clips": list("abcd"),
            "labels": [0, 1, 0, 1],
            "test": {"predicted": predicted},
        }
        (tmp_path / name).mkdir()
        (tmp_path / name / "tsm.json").write_text(json.dumps(cell))
        study = {
            "title": name,
            "recipe": "small_data",
            "data": "clips.csv",
            "networks": {"TSM": {"name": "tsm_resnet10t"}},
        }
        study |= {
            "folds": {"1 and 2": {"train": "fold=3"}},
            "settings": {"optim": {"epochs": len(name)}},
            "views": "5x1",
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setitem(script["main"].__globals__, "RESULTS", tmp_path)
    monkeypatch.setitem(script["main"].__globals__, "HERE", tmp_path)
    script["main"]()
    said = yaml.safe_load("fold_settings" + capsys.readouterr().out.partition("fold_settings")[2])["fold_settings"]
    assert said == {
        "fold 1": {"optim": {"epochs": 3}, "views": "5x1"},  # hot, which is right in fold 2
        "fold 2": {"optim": {"epochs": 4}, "views": "5x1"},  # calm, which is right in fold 1
    }


def test_a_card_without_what_it_must_not_be_used_for_is_refused(trained, tmp_path, monkeypatch):
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD | {"not_for": ""}))
    with pytest.raises(SystemExit, match="a card needs not_for"):
        ship(monkeypatch, trained[0], "motions", tmp_path / "card.yaml", "--output", tmp_path / "out")


@pytest.mark.parametrize(("right", "holds"), [(60, True), (66, True), (75, False), (40, False)])
def test_a_cell_run_again_must_lie_within_two_standard_errors(study_file, right, holds):
    """60 of 100 clips then; the standard error of the difference of two such shares is about 6.9 %."""
    study = Study.load(study_file)
    (cell, *_) = study.cells()
    for name, count in (("then", 60), ("now", right)):
        folder = study_file.parent / name / study.name
        folder.mkdir(parents=True)
        said = {"top1": count / 100, "predicted": [0] * count + [1] * (100 - count)}
        result = {"settings": study.digest(cell), "test": said, "labels": [0] * 100}
        (folder / f"{cell.slug}.json").write_text(json.dumps(result))
    then, now = (str(study_file.parent / name) for name in ("then", "now"))
    assert read_result(study, cell, then) is not None
    row = runpy.run_path(str(SCRIPTS / "check.py"))["compare"](study, cell, then, now)
    assert row["holds"] is holds and row["alike"] == pytest.approx(1 - abs(right - 60) / 100)


def test_a_test_is_divided_by_the_parts_of_a_joined_list(tmp_path, monkeypatch, capsys):
    lines = ["path,rank", f"{tmp_path}/plain/a.mp4,1", f"{tmp_path}/plain/b.mp4,2", f"{tmp_path}/footage/a.mp4,"]
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "clips.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "argv", ["parts.py", str(tmp_path / "test"), str(tmp_path)])
    runpy.run_path(str(SCRIPTS / "parts.py"), run_name="__main__")
    assert capsys.readouterr().out == "plain: 50.0 % of 2 clips\nfootage: 0.0 % of 1 clips\n"
