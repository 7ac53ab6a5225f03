"""`teinet benchmark` as a user sees it. No time is asserted."""

from __future__ import annotations

import json

import pytest
import torch

from teinet.cli.main import main
from teinet.evaluation.speed import TABLE_2, Speed, Timing
from teinet.models.factory import create_model
from teinet.models.optimized import native_precision
from teinet.recognition import Recognizer

CPU = torch.device("cpu")
TINY = ("--frames", "2", "--size", "32", "--batch-size", "2", "--rounds", "2")


def test_names_and_weights_stand_in_one_table(tmp_path, capsys):
    model = create_model("tim_test_resnet", num_classes=2, num_frames=4)
    Recognizer(model, ["left", "right"]).save(tmp_path / "mine.safetensors")
    assert main(["benchmark", "tsn_test_resnet", str(tmp_path / "mine.safetensors"), *TINY]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if "test_resnet" in line or "mine" in line]
    assert [row[1:4] for row in rows] == [["2", "x", "32x32"], ["4", "x", "224x224"]]
    assert "cores; PyTorch " in out and "paper" not in out  # none of these is in the paper

    assert main(["benchmark", "teinet_test_resnet", *TINY, "--causal", "--engine", "folded", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["models"]
    assert told["machine"]["processor"] and (told["form"], told["device"]) == (
        f"folded, {native_precision(CPU)}",
        "cpu",
    )
    assert row["latency_ms"]["low"] <= row["latency_ms"]["median"] <= row["latency_ms"]["high"]
    assert row["clips_per_second"]["low"] > 0 and row["paper"] is None


def test_counts_and_published_rows_are_the_papers():
    """Table 2: TEINet of 8 frames has 30.4 M parameters and 33 G multiply-adds; the paper's rows are bidirectional."""

    def speed(name: str, frames: int, causal: bool = False) -> Speed:
        model = create_model(name, num_classes=400, num_frames=frames, causal=causal)
        return Speed.of(name, model.eval(), (224, 224))

    teinet, causal, tsn = speed("teinet_resnet50", 8), speed("teinet_resnet50", 8, True), speed("tsn_resnet50", 16)
    assert (teinet.parameters, teinet.macs) == (30_356_896, pytest.approx(32.88e9, rel=1e-3))
    assert len(TABLE_2) == 7 and teinet.published == (36.5, 46.9)
    assert causal.published is tsn.published is None
    teinet.size = (112, 112)
    assert teinet.published is None


def test_milliseconds_and_clips_a_second_by_hand():
    speed = Speed(name="x", model=torch.nn.Identity(), size=(8, 8), parameters=1, macs=1)
    speed.seconds = {1: [0.1, 0.4, 0.2], 4: [2.0, 1.0, 4.0]}
    assert speed.latency() == Timing(200, 100, 400)
    assert speed.throughput(4) == Timing(2, 1, 4)


@pytest.mark.parametrize(("words", "said"), [
    (("teinet_resnet5O",), "resnet5O"), (("nowhere.safetensors",), "nowhere.safetensors"),
    (("--batch-size", "0"), "--batch-size is 0"), (("--device", "cuda:7"), "cuda:7"),
    (("tsn_test_resnet", "--precision", "fp16", "--device", "cpu"), "fp16 needs a GPU"),
])  # fmt: skip
def test_what_cannot_be_used_is_said_before_anything_is_measured(words, said, capsys):
    assert main(["benchmark", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
