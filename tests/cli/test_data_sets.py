"""Train, test and predict on a miniature of each data set, from the command line; ensembles, submissions, recipes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.evaluation.scores import Scores
from tests import miniatures

TINY = ("--model.pretrained", "false", "--frames", 2, "--size", 32, "--batch-size", 6, "--workers", 0)
TINY += ("--device", "cpu", "--run.max_unreadable", 0.5)


def teinet(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Every miniature, each with a network of one epoch."""
    made: dict[str, tuple[Path, Path]] = {}

    def get(name: str) -> tuple[Path, Path]:
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            place = miniatures.ALL[name](root / "data")
            words = ("--data", place, "--model", "teinet_resnet10t", "--epochs", 1, "--output", root, "--name", "run")
            assert teinet("train", *words, *TINY) == 0
            made[name] = place, root / "run"
        return made[name]

    return get


HELD_OUT = {"something_v1": 6, "something_v2": 6, "kinetics": 5}  # images, files, files of which some are missing


@pytest.mark.parametrize("name", HELD_OUT)
def test_train_test_predict(name, places, capsys):
    _, run = places(name)
    facts = json.loads((run / "run.json").read_text())
    assert facts["format"] == name and "finished" in facts
    capsys.readouterr()
    assert teinet("test", run, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["num_clips"], numbers["num_labeled"]) == (HELD_OUT[name], HELD_OUT[name])
    assert numbers["missing"] == (3 if name == "kinetics" else 0)
    scores = Scores.load(run / "test-1x1")
    assert teinet("predict", run, scores.paths[0], "--json") == 0
    best = json.loads(capsys.readouterr().out)[0]["labels"][0]
    assert best["name"] == scores.class_names[scores.predictions[0]]
    assert best["score"] == pytest.approx(scores.probabilities[0].max(), abs=1e-5)


def test_what_is_not_there_is_listed(places):
    _, run = places("kinetics")
    rows = list(csv.DictReader((run / "missing.csv").open()))
    assert len(rows) == 3 and {row["file"].rpartition("/")[2] for row in rows} == {"train.csv", "val.csv"}


def test_an_ensemble_takes_scores_from_disk_and_averages_them(places, tmp_path, capsys):
    place, run = places("something_v2")
    other = tmp_path / "other"
    words = ("--data", place, "--model", "tsn_resnet10t", "--epochs", 1, "--output", tmp_path, "--name", "other")
    assert teinet("train", *words, *TINY, "--seed", 1) == 0
    assert teinet("test", run) == 0 and teinet("test", other) == 0
    capsys.readouterr()
    assert teinet("test", run, other, "--ensemble-weights", "3,1", "--output", tmp_path / "both") == 0
    assert capsys.readouterr().out.count("scores on disk") == 2
    one, two, both = (Scores.load(folder) for folder in (run / "test-1x1", other / "test-1x1", tmp_path / "both"))
    np.testing.assert_allclose(both.probabilities, 0.75 * one.probabilities + 0.25 * two.probabilities, atol=1e-6)
    (run / "last.safetensors").rename(tmp_path / "moved.safetensors")  # saved scores need no network
    try:
        assert teinet("test", run / "test-1x1", other / "test-1x1", "--output", tmp_path / "again") == 0
    finally:
        (tmp_path / "moved.safetensors").rename(run / "last.safetensors")
    elsewhere = places("kinetics")[1]
    assert teinet("test", run, elsewhere) == 2
    assert f"{run} and {elsewhere} hold out clips of different lists; name" in capsys.readouterr().err
    assert teinet("test", run, other, "--ensemble-weights", "1,x") == 2
    assert "numbers with commas" in capsys.readouterr().err
    again = Scores.load(tmp_path / "again").probabilities
    np.testing.assert_allclose(again, (one.probabilities + two.probabilities) / 2, atol=1e-6)
    assert teinet("test", run, other, "--overwrite", "--output", tmp_path / "both") == 0
    assert "scores on disk" not in capsys.readouterr().out.split("tested,")[-1]


FORMS = {"something_v1": r"\d+;Pushing.*|\d+;Poking.*", "something_v2": r"\d+;[012];[012];[012]"}


@pytest.mark.parametrize(("name", "form"), FORMS.items())
def test_predictions_of_unlabeled_clips(name, form, places, tmp_path, capsys):
    _, run = places(name)
    assert teinet("test", run, "--submit", tmp_path / "answers.csv") == 0
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert len(lines) == 3 and all(re.fullmatch(form, line) for line in lines)
    ids = ["16", "17", "18"] if name != "something_v2" else ["115", "116", "117"]
    assert [line.split(";")[0] for line in lines] == ids
    scores = Scores.load(run / "test-1x1-unlabeled")
    if name == "something_v2":  # numbers of the makers' labels.json
        order = [scores.class_names[i] for i in np.argsort(-scores.probabilities[0])]
        makers = json.loads((places(name)[0] / "labels" / "labels.json").read_text())
        assert lines[0] == ";".join(["115", *(makers[label] for label in order)])
    assert not np.isfinite(scores.top1)


ROW = ("--model.pretrained", "false", "--model.num_frames", 2, "--clip.size", 32, "--clip.short_side", 36)
ROW += ("--optim.epochs", 1, "--optim.milestones", "[1]", "--batch-size", 6, "--workers", 0, "--device", "cpu")


def test_a_row_of_the_paper_in_one_command(tmp_path, capsys):
    place = miniatures.something_v1(tmp_path / "data")
    words = ("something_v1/teinet_8f", "--data", place, "--model.name", "teinet_resnet10t", "--output", tmp_path)
    assert teinet("train", *words, *ROW, "--run.max_unreadable", 0.5, "--run.tests", "[1x1, 2x3]") == 0
    out = capsys.readouterr().out
    run = tmp_path / "something_v1-teinet_8f-1"
    assert re.search(r"1a +Res50\+MEM\+TIM +1x1 +\d+\.\d / 47\.4 +- / 76\.6", out)
    assert "top-5 is 76.6 in Table 1a and 75.8 in Table 1c" in out
    assert re.search(r"this run differs from \S+ in model\.name, model\.num_frames, clip\.size", out)
    assert (run / "test-1x1" / "metrics.json").exists() and (run / "test-2x3").exists()
    assert teinet("test", run) == 0
    assert "47.4" in capsys.readouterr().out  # the weights carry the row
    assert teinet("test", run, "--json") == 0
    assert {p["table"] for p in json.loads(capsys.readouterr().out)["published"]} == {"1a", "1c", "2", "3"}


def test_three_divisions_fine_tuned_from_another_data_set(places, tmp_path, capsys):
    _, start = places("kinetics")
    place = miniatures.hmdb51(tmp_path / "data")
    words = ("hmdb51/teinet_16f", "--data", place, "--model.name", "teinet_resnet10t", "--output", tmp_path)
    words = (*words, *ROW, "--name", "fine", "--run.tests", "[1x1]", "--model.dropout", 0.5)
    assert teinet("train", *words) == 2 and "--weights FILE" in capsys.readouterr().err
    assert teinet("train", *words, "--weights", start, "--optim.freeze_bn", "none") == 0
    out = capsys.readouterr().out
    accuracies = [Scores.load(tmp_path / f"fine-split{d}" / "test-1x1").top1 for d in (1, 2, 3)]
    assert f"top-1 {100 * np.mean(accuracies):.1f} %, mean of 3 splits" in out
    assert f"standard deviation {100 * np.std(accuracies, ddof=1):.1f} %" in out
    tested = [set(Scores.load(tmp_path / f"fine-split{d}" / "test-1x1").paths) for d in (1, 2, 3)]
    assert sum(map(len, tested)) == 18
    assert len(set.union(*tested)) == 12  # splits share clips
    assert teinet("train", *words, "--weights", start, "--optim.freeze_bn", "none") == 0  # nothing is trained twice
    assert capsys.readouterr().out.count("is finished") == 3


def test_a_dry_run_says_what_would_be_done_and_fetches_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("weights were fetched"))
    place = miniatures.something_v1(tmp_path / "data")
    words = ("something_v1/teinet_8f_res5", "--data", place, "--model.name", "teinet_resnet10t", *ROW[2:])
    words = (*words, "--dry-run", "--run.max_unreadable", 0.5)
    assert teinet("train", *words, "--output", tmp_path / "runs", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["clips"] == {"train": 9, "val": 6, "test": 3} and plan["steps"] == 2  # two steps of six and three clips
    assert plan["learning_rate"] == pytest.approx(0.01 * 6 / 64)
    assert plan["recipe"]["model"]["stages"] == [5] and plan["recipe"]["published"][0]["top1"] == 45.3
    assert plan["trial"]["step_seconds"] > 0 and plan["trial"]["memory"] > 1e8 and plan["seconds"] > 0
    assert not (tmp_path / "runs").exists()
    assert teinet("train", *words) == 0
    out = capsys.readouterr().out
    said = ("learning rate  0.0009375", "table 1b", "GiB at its peak", "--model.stages '[5]'")
    assert sorted(said, key=out.index) == list(said)
    assert "--optim.momentum" not in out, "a default"


def test_an_ensemble_is_laid_next_to_its_row_and_submitted_from_saved_scores(tmp_path, capsys):
    place = miniatures.something_v2(tmp_path / "data")
    for row in ("teinet_16f", "teinet_8f"):
        words = (f"something_v2/{row}", "--data", place, "--model.name", "teinet_resnet10t", "--output", tmp_path)
        assert teinet("train", *words, *ROW, "--name", row, "--run.tests", "[1x1]", "--seed", len(row)) == 0
    runs = [tmp_path / row for row in ("teinet_16f", "teinet_8f")]
    capsys.readouterr()
    assert teinet("test", *runs) == 0
    out = capsys.readouterr().out
    assert re.search(r"4 +TEINet-RGB 16f\+8f +1x1 +\d+\.\d / 66\.5", out) and out.count("scores on disk") == 2
    assert "61.3" not in out  # a row of one of them alone
    assert "differs from something_v2/teinet_16f" in out
    for run in runs:
        assert teinet("test", run, "--submit", tmp_path / "one.csv", "--overwrite") == 0
    capsys.readouterr()
    saved = [run / "test-1x1-unlabeled" for run in runs]
    assert teinet("test", *saved, "--submit", tmp_path / "both.csv", "--output", tmp_path / "both") == 0
    assert "table 4, TEINet-RGB 16f+8f, top-1 64.6" in capsys.readouterr().out
    lines = (tmp_path / "both.csv").read_text().splitlines()
    assert len(lines) == 3 and all(re.fullmatch(FORMS["something_v2"], line) for line in lines)


def test_labeled_test_clips_do_not_take_the_place_of_those_that_a_paper_measured(tmp_path, capsys):
    place = miniatures.kinetics(tmp_path / "data")
    (place / "test.csv").write_text((place / "val.csv").read_text().replace(",val,", ",test,"))
    words = ("kinetics400/teinet_8f", "--data", place, "--model.name", "teinet_resnet10t", "--output", tmp_path)
    assert teinet("train", *words, *ROW, "--name", "run", "--run.tests", "[1x1]") == 0
    capsys.readouterr()
    assert teinet("test", tmp_path / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["split"] == "val"


def test_numbers_without_names_are_not_mirrored(tmp_path, capsys):
    place = miniatures.slowfast(tmp_path / "data")
    words = ("--data", place, "--model", "tsn_resnet10t", "--epochs", 1, "--output", tmp_path, "--name", "run")
    assert teinet("train", *words, *TINY, "--clip.hflip", "auto") == 0
    assert "not flipped: classes have numbers" in capsys.readouterr().out
