"""What measures live video, for a moment: a tiny network, two rounds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "live.py"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    changes = {"BACKBONES": ("resnet10t",), "SMALL": "resnet10t", "ENGINES": ("folded",), "SIZE": 32}
    for name, value in changes.items():
        monkeypatch.setitem(SCRIPT["step"].__globals__, name, value)


def test_a_step_is_compared_with_a_frame_and_a_clip_of_the_same_rounds():
    found = SCRIPT["step"](2, "fp32")
    assert set(found) == {"resnet10t folded"}
    for of in found.values():
        times = {name: spread["median"] for name, spread in of["milliseconds"].items()}
        assert all(time > 0 for time in times.values())
        assert set(times) == {"step", "tsn", "tsn again", "clip", "tsn clip"} and len(of["ratios"]) == 4


def test_the_rate_counts_from_picture_to_scores():
    found = SCRIPT["rate"](20, "fp32")
    for of in found.values():
        assert of["delay_ms"]["50"] <= of["delay_ms"]["99"] <= of["delay_ms"]["100"]
        assert of["steps"] == 20 and of["steps_per_second"] > 0
        assert 0.4 < of["state_bytes_fp16"] / of["state_bytes"] < 0.6


def test_chunks_give_what_stepping_gives():
    found = SCRIPT["chunks"](2, 20, "fp32")
    assert all(of["largest_difference"] < 1e-5 and of["frames"] == 20 for of in found.values())
