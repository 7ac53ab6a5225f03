"""The soak of misbehaving cameras, for a moment; and that it finds what it is there to find."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from teinet.recognition.stream import Stream

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "soak.py"))


def test_cameras_that_misbehave_harm_nobody():
    found = SCRIPT["soak"](300, 3, seed=1)
    assert found["steps"] >= 300 and SCRIPT["faults"](found) == []
    assert found["notices"]["begin"] == found["notices"]["end"] > 0
    assert sum(found["trouble"].values()) > 0


def test_a_stream_that_is_not_reset_is_found(monkeypatch):
    monkeypatch.setattr(Stream, "reset", lambda self, streams=None: None if streams else self.state.reset())
    (fault,) = SCRIPT["faults"](SCRIPT["soak"](300, 3, seed=1))
    assert "a stream's state was wrong" in fault


GOOD = {
    "steps": 100,
    "largest_difference": 1e-7,
    "mixed": 0,
    "uncounted": [0, 1],
    "broken_uncounted": [0, 0],
    "memory_mb": [(0, 80.0), (10, 100.0), (100, 104.0)],
    "trouble": {"stall": 0},
    "notices": {"resumed": 1},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"largest_difference": 1e-3}, "wrong"),
        ({"mixed": 1}, "wrong"),
        ({"uncounted": [0, -2]}, "neither seen nor counted"),
        ({"broken_uncounted": [5, 0]}, "broken"),
        ({"memory_mb": [(0, 80.0), (10, 100.0), (100, 106.0)]}, "grew from 100 to 106"),
        ({"steps": 10_000, "memory_mb": [(1000, 100.0)]}, "never happened: stall"),
    ],
)
def test_faults_are_said(change, said):
    assert SCRIPT["faults"](GOOD) == []
    (fault,) = SCRIPT["faults"](GOOD | change)
    assert said in fault
