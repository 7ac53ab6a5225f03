"""A run that was really trained, tested and put together with another: the report reads what the commands write."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from teinet.cli.main import main
from tests.conftest import small


@pytest.fixture(scope="module")
def place(clips, tmp_path_factory):
    """Two seeds of one recipe, both tested alone and together."""
    folder = tmp_path_factory.mktemp("runs")
    names = [str(folder / f"run-{seed}") for seed in (0, 1)]
    for seed in (0, 1):
        words = small(clips, "--output", folder, "--name", f"run-{seed}", "--seed", seed, "--epochs", 1)
        assert main(["train", *words]) == 0
    assert main(["test", *names, "--workers", "0", "--device", "cpu"]) == 0
    return folder


def test_the_numbers_are_those_that_the_tests_wrote(place, capsys):
    assert main(["report", str(place), "--json"]) == 0
    out, err = capsys.readouterr()
    assert not err
    values = json.loads(out)
    tests = {(run["name"], test["name"]): test for run in values["runs"] for test in run["tests"]}
    assert set(tests) == {("run-0", "test-1x1"), ("run-1", "test-1x1"), ("run-0+run-1", "test-1x1")}
    for (run, name), test in tests.items():
        numbers = json.loads((place / run / name / "metrics.json").read_text())
        assert test["top1"] == numbers["top1"] and test["clips"] == numbers["num_clips"]
    assert len(tests["run-0+run-1", "test-1x1"]["members"]) == 2
    (group,) = values["groups"]
    top1 = [tests[f"run-{seed}", "test-1x1"]["top1"] for seed in (0, 1)]
    mean = group["means"][0]["top1"]
    assert mean["mean"] == pytest.approx(sum(top1) / 2)
    assert mean["deviation"] == pytest.approx(abs(top1[0] - top1[1]) / 2**0.5)
    assert list(values["settings"]) == ["run.seed"] and not values["notes"]
    for run in values["runs"][:1] + values["runs"][2:]:
        assert run["finished"] and run["epochs"] == 1 and not run["warnings"] and not run["problems"]
        assert run["frames"] == 2 and run["parameters"] > 1e6
        rows = list(csv.DictReader((place / run["name"] / "log.csv").open()))
        assert [row["loss"] for row in run["log"]] == [float(row["loss"]) for row in rows]


def test_the_page_of_one_run_and_its_ensemble(place, tmp_path, capsys):
    assert main(["report", str(place / "run-0"), "--output", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "<h1>run-0</h1>" in text and "test-1x1" in text
    assert main(["report", str(place / "run-0+run-1")]) == 0
    assert "teinet_resnet10t" in capsys.readouterr().out


def test_training_leaves_its_curves(place):
    with Image.open(place / "run-0" / "curves.png") as image:
        assert image.width > 1000 and image.format == "PNG"
