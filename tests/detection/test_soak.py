"""The soak of misbehaving cameras, for a moment; and that it finds what it is there to find."""

from __future__ import annotations

import runpy
from pathlib import Path

from teinet.recognition.stream import Stream

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "soak.py"))


def test_cameras_that_misbehave_harm_nobody():
    found = SCRIPT["soak"](0.05, 3, seed=1, speed=50)
    assert found["steps"] >= 50 and SCRIPT["faults"](found) == []
    assert found["notices"]["begin"] == found["notices"]["end"] > 0
    assert sum(found["trouble"].values()) > 0


def test_a_stream_that_is_not_reset_is_found(monkeypatch):
    monkeypatch.setattr(Stream, "reset", lambda self, streams=None: None if streams else self.state.reset())
    (fault,) = SCRIPT["faults"](SCRIPT["soak"](0.05, 3, seed=1, speed=50))
    assert "a stream's state was wrong" in fault
