"""One source read in its thread: which frames come out, what is dropped, and what is said when something is wrong."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from teinet.data.decode import read_clip
from teinet.data.source import Source
from teinet.errors import VideoError
from teinet.live.reader import Reader, Shot
from tests import miniatures
from tests.live.sources import BROKEN, Made, frame


def read(source, *, until=None, slow=0.0, **options):
    """All that a reader gives until it is done, or until `until` says so; and the reader."""
    ready = threading.Condition()
    options = {"spacing": 0.1, "pauses": (0.01, 0.02), "delay": 10.0} | options
    reader = Reader(source, ready=ready, began=time.monotonic(), **options)
    reader.start()
    items = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with ready:
            item = reader.take()
            if item is None:
                if reader.done:
                    break
                ready.wait(0.05)
                continue
        items.append(item)
        if until and until(items):
            break
        time.sleep(slow)
    reader.stop()
    reader.join(5)
    assert not reader.is_alive()
    return items, reader


def shots(items):
    return [item for item in items if isinstance(item, Shot)]


def said(items):
    return [item.what for item in items if not isinstance(item, Shot)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return miniatures.write(tmp_path_factory.mktemp("film") / "film.mp4", 3, length=21, rate=10)


def test_a_file_gives_the_frames_at_the_wanted_spacing(film):
    items, reader = read(Source.parse(str(film)), spacing=0.2, fast=True, delay=0.4)
    truth = read_clip(film, lambda n: np.arange(0, n, 2))
    assert said(items) == ["connected", "finished"]
    np.testing.assert_allclose([shot.time for shot in shots(items)], truth.times, atol=1e-3)
    assert np.array_equal(np.stack([shot.picture for shot in shots(items)]), truth.data)
    assert [shot.fresh for shot in shots(items)] == [True] + [False] * 10
    assert (reader.dropped, reader.pace.skipped, reader.restarts) == (0, 10, 0)


def test_a_file_is_played_at_its_own_speed(film):
    began = time.monotonic()
    items, _ = read(Source.parse(str(film)))
    arrived = [shot.arrived - began for shot in shots(items)]
    assert len(arrived) == 21
    assert all(early <= shown + 0.01 for early, shown in zip(np.arange(21) / 10, arrived, strict=True))


def test_a_fast_file_waits_for_the_network_and_drops_nothing():
    source = Made([[frame(i / 10) for i in range(30)]], duration=3_000_000)
    items, reader = read(source, fast=True, delay=0.1, slow=0.01)
    assert len(shots(items)) == 30 and reader.dropped == 0


def test_what_waits_too_long_is_dropped_and_counted():
    """The network takes nothing while thirty frames come: the newest two are left, and begin anew."""
    source = Made([[frame(i / 10, grey=i) for i in range(30)]], kind="pipe")
    ready = threading.Condition()
    reader = Reader(source, ready=ready, began=time.monotonic(), spacing=0.1, delay=0.2)
    reader.start()
    reader.join(10)
    with ready:
        items = list(iter(reader.take, None))
    assert [int(shot.picture[0, 0, 0]) for shot in shots(items)] == [28, 29]
    assert [shot.fresh for shot in shots(items)] == [True, False]
    assert reader.dropped == 28 and reader.pace.taken == 30


def test_a_frame_that_waited_too_long_gives_way_to_a_newer_one():
    source = Made([[frame(i / 10, grey=i) for i in range(4)]], kind="pipe")
    ready = threading.Condition()
    reader = Reader(source, ready=ready, began=time.monotonic(), spacing=0.1, delay=0.4)
    reader.start()
    reader.join(10)
    time.sleep(0.5)
    with ready:
        items = list(iter(reader.take, None))
    assert [int(shot.picture[0, 0, 0]) for shot in shots(items)] == [3]
    assert shots(items)[0].fresh and reader.dropped == 3


@pytest.mark.parametrize("to", [-5000.0, -0.55, 0.0, 5000.0])
def test_times_that_jump_begin_anew_and_never_run_backwards(to):
    before = [frame(100 + i / 10) for i in range(5)]
    after = [frame(100.4 + to + i / 10) for i in range(5)]
    items, reader = read(Made([before + after], kind="pipe"))
    times = [shot.time for shot in shots(items)]
    assert said(items) == ["connected", "restarted", "finished"]
    assert reader.restarts == 1
    assert np.all(np.diff(times) > 0) and max(times) < 5
    fresh = [shot.fresh for shot in shots(items)]
    assert fresh.count(True) == 2 and fresh[0]


def test_a_recording_keeps_its_own_clock_where_times_jump():
    seconds = [0, 0.1, 0.2, 60, 60.1]
    items, reader = read(Made([[frame(s) for s in seconds]], duration=61_000_000), fast=True)
    assert [shot.time for shot in shots(items)] == pytest.approx(seconds)
    assert [shot.fresh for shot in shots(items)] == [True, False, False, True, False]
    assert reader.restarts == 1


def test_pictures_of_another_size_begin_anew():
    script = [frame(0.0), frame(0.1), frame(0.2, size=(48, 64)), frame(0.3, size=(48, 64))]
    items, reader = read(Made([script], kind="pipe"))
    assert said(items) == ["connected", "resized", "finished"]
    assert next(item.why for item in items if getattr(item, "what", "") == "resized") == "32x24 to 64x48"
    assert [shot.picture.shape for shot in shots(items)] == [(24, 32, 3)] * 2 + [(48, 64, 3)] * 2
    assert [shot.fresh for shot in shots(items)] == [True, False, True, False]
    assert reader.restarts == 1


def test_another_rate_changes_nothing():
    script = [frame(i / 50) for i in range(100)] + [frame(2 + i / 10) for i in range(10)]
    items, reader = read(Made([script], kind="pipe"))
    assert np.diff([shot.time for shot in shots(items)]) == pytest.approx(0.1, abs=0.021)
    assert reader.restarts == 0


def test_frames_without_times_take_those_of_their_arrival():
    items, _ = read(Made([[frame(None) for _ in range(3)]], kind="pipe"), spacing=1e-6)
    times = [shot.time for shot in shots(items)]
    assert len(times) == 3 and np.all(np.diff(times) > 0)


def test_broken_frames_are_counted_and_passed_over():
    script = [frame(0.0), BROKEN, frame(0.1), BROKEN, BROKEN, frame(0.2)]
    items, reader = read(Made([script], kind="pipe"))
    assert len(shots(items)) == 3 and reader.broken == 3


def test_a_lost_stream_is_opened_again_after_growing_pauses():
    source = Made(
        [[frame(0.0)], VideoError("made", "refused"), VideoError("made", "refused"), [frame(0.0), frame(0.1)]]
    )
    items, reader = read(source, pauses=(0.01, 0.02, 0.03), until=lambda items: len(shots(items)) == 3)
    whys = [item.why for item in items if getattr(item, "what", "") == "lost"]
    assert whys[:3] == [
        "it ended; trying again in 0.01 s",
        "refused; trying again in 0.02 s",
        "refused; trying again in 0.03 s",
    ]
    assert [shot.fresh for shot in shots(items)] == [True, True, False]
    assert np.all(np.diff([shot.time for shot in shots(items)]) > 0)
    assert reader.connections == 2 and reader.restarts == 1


def test_a_source_that_is_not_there_is_an_error_unless_it_is_waited_for():
    _, reader = read(Made([VideoError("made", "refused")]))
    assert str(reader.error) == "made: refused"
    items, reader = read(
        Made([VideoError("made", "refused"), [frame(0.0)]]), patient=True, until=lambda items: bool(shots(items))
    )
    assert reader.error is None and said(items) == ["lost", "connected"]


def test_a_recording_at_an_address_ends():
    items, reader = read(Made([[frame(0.0), frame(0.1)]], duration=200_000))
    assert said(items) == ["connected", "finished"] and reader.connections == 1


def test_a_fault_of_ours_is_said_and_ends_the_thread():
    _, reader = read(Made([[frame(0.0), RuntimeError("unheard of")]]))
    assert "unheard of" in str(reader.error) and reader.done
