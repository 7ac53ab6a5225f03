"""`teinet timeline` on a terminal: a bar for each recording, how far it is, how fast against real time."""

from __future__ import annotations

import io
import sys

import pytest

from teinet.cli.timeline import _progress
from tests import miniatures


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "there"), [(Terminal(), True), (io.StringIO(), False)])
def test_a_terminal_shows_it_and_a_file_does_not(tmp_path, monkeypatch, stream, there):
    film = miniatures.write(tmp_path / "film.mp4", 3, length=61, rate=10)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stream)
    with _progress([film, tmp_path / "absent.mp4"]) as (reached, ended):
        reached(0, 0.0)
        reached(0, 5.0)
        ended()
        reached(1, 2.0)  # nobody knows how long it is
        ended()
    assert ("film.mp4" in stream.getvalue()) is there
