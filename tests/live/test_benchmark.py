"""What measures live video, for a moment: a tiny network, two rounds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "live.py"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    changes = {"BACKBONES": ("resnet10t",), "SMALL": "resnet10t", "ENGINES": ("eager", "folded"), "SIZE": 32}
    for name, value in changes.items():
        monkeypatch.setitem(SCRIPT["step"].__globals__, name, value)


def test_a_step_is_compared_with_a_frame_and_a_clip_of_the_same_rounds():
    found = SCRIPT["step"](2, "fp32")
    assert set(found) == {"resnet10t eager", "resnet10t folded"}
    for of in found.values():
        times = {name: spread["median"] for name, spread in of["milliseconds"].items()}
        assert all(time > 0 for time in times.values())
        low, high = (of["ratios"]["step / 8-frame clip"][name] for name in ("low", "high"))
        assert low <= times["step"] / times["clip"] * 1.5 and high >= times["step"] / times["clip"] / 1.5


def test_the_rate_counts_from_picture_to_scores():
    found = SCRIPT["rate"](20, "fp32")
    for of in found.values():
        assert of["delay_ms"]["50"] <= of["delay_ms"]["99"] <= of["delay_ms"]["100"]
        assert of["steps_per_second"] == pytest.approx(1000 / of["delay_ms"]["50"], rel=0.9)
        assert 0.4 < of["state_bytes_fp16"] / of["state_bytes"] < 0.6


def test_chunks_give_what_stepping_gives():
    found = SCRIPT["chunks"](2, 20, "fp32")
    assert all(of["largest_difference"] < 1e-5 and of["frames"] == 20 for of in found.values())
