"""`teinet timeline` on a terminal: a bar for each recording, how far it is, how fast against real time."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from teinet.cli.timeline import progress
from tests import miniatures


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Bars:
    """Remembers the bars that there are."""

    def __init__(self):
        self.tasks: dict[int, dict] = {}

    def add_task(self, name: str, **fields: object) -> int:
        self.tasks[len(self.tasks)] = {"name": name, **fields}
        return len(self.tasks) - 1

    def update(self, task: int, **fields: object) -> None:
        self.tasks[task] |= fields

    def remove_task(self, task: int) -> None:
        self.tasks[task]["removed"] = True


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """What time it is, as the progress sees it."""
    now = SimpleNamespace(second=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.second))
    return now


@pytest.fixture
def film(tmp_path) -> Path:
    return miniatures.write(tmp_path / "film.mp4", 3, length=61, rate=10)


def test_how_far_and_how_fast(film, clock):
    """30 s of video in 10 s are 3 times real time; the second one begins at 100 s, where it goes on."""
    bars = Bars()
    shown = progress._Shown([film, film.with_name("absent.mp4")], bars)
    shown.reached(0, 0.0)
    clock.second = 10.0
    shown.reached(1, 100.0)
    shown.reached(0, 30.0)
    assert bars.tasks[0]["name"] == "film.mp4" and bars.tasks[0]["total"] == pytest.approx(6.1)
    assert bars.tasks[0]["completed"] == 30.0 and bars.tasks[0]["speed"] == "30 s, 3.0 times real time"
    clock.second = 12.0
    shown.reached(1, 110.0)
    assert bars.tasks[1]["total"] is None and bars.tasks[1]["speed"] == "110 s, 5.0 times real time"
    shown.ended(0)
    shown.reached(0, 31.0)  # a late word of it
    shown.ended(0)
    assert bars.tasks[0]["removed"] and bars.tasks[0]["completed"] == 30.0


def test_the_speed_is_that_of_late(film, clock):
    """An hour is passed over in the first minute; then a second of video takes half a second."""
    bars = Bars()
    shown = progress._Shown([film], bars)
    for second in range(60):
        clock.second = float(second)
        shown.reached(0, 60.0 * second)
    for second in range(60, 160):
        clock.second = float(second)
        shown.reached(0, 3540.0 + 2 * (second - 59))
    assert bars.tasks[0]["speed"] == "3740 s, 2.0 times real time"


def test_a_terminal_shows_it_and_a_file_does_not(film, monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "120")
    for stream, there in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        clock.second = 0.0
        with progress.shown([film]) as told:
            told.reached(0, 0.0)
            clock.second = 2.0
            told.reached(0, 5.0)
            if there:
                told._bars.refresh()
            told.ended(0)
        assert ("film.mp4" in stream.getvalue()) is there
        assert ("5 s, 2.5 times real time" in stream.getvalue()) is there
