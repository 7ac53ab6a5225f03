"""Progress bars: how far, how fast, how long still; on a terminal alone."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from teinet.utils.progress import ProgressBars, _Facts, file_progress


@pytest.fixture
def clock() -> SimpleNamespace:
    """What time it is, as the bars see it."""
    return SimpleNamespace(second=0.0)


@pytest.fixture
def terminal(clock) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, get_time=lambda: clock.second)


def facts(bars: ProgressBars) -> list[str]:
    return [_Facts().render(task).plain for task in bars.tasks]


def test_files_are_counted_with_their_speed_and_the_time_left(terminal, clock):
    """A file each half second beyond the six that were done before: 90 more take 45 s."""
    with ProgressBars(terminal) as bars:
        task = bars.task("checking", 100, done=6)
        for _ in range(4):
            clock.second += 0.5
            task.advance("1 bad")
        assert facts(bars) == ["10/100  2 files/s  45 s left  1 bad"]


def test_seconds_of_recordings_are_told_against_real_time(terminal, clock):
    """30 s of video in 10 s are 3 times real time; the second one, of unknown length, begins at 100 s."""
    with ProgressBars(terminal) as bars:
        first, second = bars.task("a.mp4", 60, unit="s"), bars.task("b.mp4", done=100, unit="s")
        for clock.second in (5.0, 10.0):
            first.update(3 * clock.second)
            second.update(100 + 5 * clock.second)
        assert facts(bars) == ["30 s  3.0 times real time  10 s left", "150 s  5.0 times real time"]
        first.remove()
        first.update(31)  # a late word of it
        first.remove()
        assert len(facts(bars)) == 1


def test_the_speed_is_that_of_late(terminal, clock):
    """An hour is passed over in the first minute; then a second of video takes half a second."""
    with ProgressBars(terminal) as bars:
        task = bars.task("a.mp4", unit="s")
        for clock.second in range(160):
            task.update(60.0 * clock.second if clock.second < 60 else 3540.0 + 2 * (clock.second - 59))
        assert facts(bars) == ["3740 s  2.0 times real time"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_a_terminal_shows_them(is_terminal):
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=120)
    with file_progress(console, "reading [1]", 3) as advance:
        advance("2 bad")
    assert ("reading [1]" in console.file.getvalue()) is is_terminal
    with file_progress(None, "reading", 3) as advance:
        advance("")
