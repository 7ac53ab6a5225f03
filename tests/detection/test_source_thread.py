"""One source read in its thread: which frames come out, what is dropped, and what is said when something is wrong."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from teinet.data.video.reader import VideoReader
from teinet.data.video.source import Source
from teinet.detection.source_thread import DueFrame, SourceThread
from teinet.errors import VideoError
from tests import miniatures
from tests.data.video.test_frames import late
from tests.detection.sources import BROKEN, Made, frame, read, said, shots


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return miniatures.write(tmp_path_factory.mktemp("film") / "film.mp4", 3, length=21, rate=10)


def test_a_file_gives_the_frames_at_the_wanted_spacing(film):
    items, reader = read(Source.parse(str(film)), frame_interval=0.2, fast=True, delay=0.4)
    truth = VideoReader(film).sample(lambda n: np.arange(0, n, 2))
    assert said(items) == ["connected", "finished"]
    np.testing.assert_allclose([shot.time for shot in shots(items)], truth.times, atol=1e-3)
    assert np.array_equal(np.stack([shot.image for shot in shots(items)]), truth.images)
    assert [shot.reset for shot in shots(items)] == [True] + [False] * 10
    assert (reader.counts.dropped, reader.sampler.num_skipped, reader.counts.restarts) == (0, 10, 0)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("film.h264", "libx264", {}), ("film.mkv", "mpeg4", {"live": "1"})],
    ids=["bare frames", "a recorder that never came to its end"],
)
def test_a_file_that_does_not_say_how_long_it_is_is_a_recording(tmp_path, name, codec, options):
    images = miniatures.frames(3, 15)  # 25 a second, which FFmpeg also guesses for bare frames
    source = Source.parse(str(miniatures.encode(tmp_path / name, images, codec, rate=25, container=options)))
    with source.open() as (container, _):
        assert not container.duration
    began = time.monotonic()
    items, reader = read(source, frame_interval=0.04)
    assert [shot.time for shot in shots(items)] == pytest.approx(np.arange(15) / 25, abs=2e-3)
    assert np.all(np.array([shot.arrived for shot in shots(items)]) - began >= np.arange(15) / 25)
    assert reader.counts.restarts == 0 and said(items) == ["connected", "finished"]


@pytest.mark.parametrize("seconds", [[0, 0.1, 5000, 5000.1], [0, 0.1, 0, 0.1]])
def test_a_recording_whose_times_jump_is_shown_on_from_there(seconds):
    items, reader = read(Made([[frame(second) for second in seconds]], kind="file"))
    arrived = np.array([shot.arrived for shot in shots(items)])
    assert np.all(np.diff(arrived) > 0.08) and arrived[-1] - arrived[0] < 2
    assert [shot.time for shot in shots(items)] == pytest.approx(seconds)
    assert [shot.reset for shot in shots(items)] == [True, False, True, False] and reader.counts.restarts == 1


def test_a_fast_file_waits_for_the_network_and_drops_nothing():
    source = Made([[frame(i / 10) for i in range(30)]], duration=3_000_000)
    items, reader = read(source, fast=True, delay=0.1, slow=0.01)
    assert len(shots(items)) == 30 and reader.counts.dropped == 0


def paced(script):
    """The frames of a script, each sent at its own time; those in a list together, at the time of the last of them."""
    began = time.monotonic()
    for together in script:
        together = together if isinstance(together, list) else [together]
        time.sleep(max(0.0, began + float(together[-1].pts * together[-1].time_base) - time.monotonic()))
        yield from together


def seconds(numbers):
    return [frame(i / 10, gray=i) for i in numbers]


def test_segments_are_shown_at_their_own_times():
    """Four segments of a second, each sent when it is whole; the model needs half of the time."""
    script = paced([seconds(range(10 * i, 10 * i + 10)) for i in range(4)])
    items, reader = read(Made([script]), delay=0.3, grace=0.0, slow=0.05, until=lambda items: len(shots(items)) == 40)
    times = [shot.time for shot in shots(items)]
    assert np.diff(times) == pytest.approx(0.1, abs=0.02) and reader.counts.dropped == 0
    given = np.array(reader.given) - reader.given[0]
    assert np.all(given > np.array(times) - times[0] - 0.55) and 3.3 < given[-1] < 5  # half a second early at most


def test_frames_that_come_too_late_at_once_are_all_seen():
    """A network that stood still for two seconds delivers them at once; the model needs half of the time."""
    script = paced([*seconds(range(10)), seconds(range(10, 30)), *seconds(range(30, 55))])
    items, reader = read(Made([script]), delay=0.3, grace=0.0, slow=0.05, until=lambda items: len(shots(items)) == 55)
    assert len(shots(items)) == 55 and reader.counts.dropped == 0
    assert np.diff([shot.time for shot in shots(items)]) == pytest.approx(0.1, abs=0.02)
    assert reader.given[-1] - shots(items)[-1].arrived < 0.5  # it has caught up


def test_what_a_camera_sends_first_delays_nothing_for_long():
    """It begins with its last two seconds."""
    script = paced([seconds(range(20)), *seconds(range(20, 70))])
    began = time.monotonic()
    items, reader = read(Made([script]), until=lambda items: len(shots(items)) == 70)
    delays = np.array(reader.given) - [shot.arrived for shot in shots(items)]
    times = np.array([shot.time for shot in shots(items)])
    assert delays.max() > 1 and np.median(delays[-20:]) < 0.05
    assert np.all(np.diff(times) > 0) and np.all(times - (np.array(reader.given) - began) < 0.6)


def test_a_model_that_is_too_slow_drops_frames_and_says_so_at_once():
    """It takes two frames of three: of the first second all, then frames are dropped, at once reported, and go on."""
    items, reader = read(Made([paced(seconds(range(50)))], kind="pipe"), delay=0.3, grace=1.0, slow=0.15)
    kinds = said(items)
    assert kinds == ["connected", "dropped", "finished"]
    place = next(i for i, item in enumerate(items) if getattr(item, "type", "") == "dropped")
    assert items[place].reason in ("1 frame: the model is too slow", "2 frames: the model is too slow")
    assert len(shots(items[:place])) == pytest.approx(8, abs=2)  # of one second
    assert len(shots(items)) + reader.counts.dropped == 50 and 10 <= reader.counts.dropped <= 22
    behind = np.array(reader.given) - [shot.arrived for shot in shots(items)]
    assert behind[12:].max() < 0.6


def test_a_dropped_frame_hands_its_reset_on_and_frames_wait_at_a_small_size():
    ready = threading.Condition()
    how = {"frame_interval": 0.1, "delay": 0.25, "grace": 0.0, "shrink": lambda image: image[::2, ::2]}
    source = Made([seconds(range(10))], kind="file")  # shown in real time, while nothing is taken
    reader = SourceThread(source, ready=ready, began=time.monotonic(), **how)
    reader.start()
    reader.join(10)
    with ready:
        items = [reader.take() for _ in range(20) if not reader.done]
    found = shots(items)
    assert said(items)[0] == "dropped" and reader.counts.dropped + len(found) == 10 and 1 <= len(found) <= 3
    assert [shot.reset for shot in found] == [True] + [False] * (len(found) - 1)
    assert all(shot.image.shape == (12, 16, 3) for shot in found)


def test_a_stream_longer_than_the_buffer_waits_and_loses_nothing():
    many = [frame(i / 100) for i in range(600)]
    items, reader = read(Made([many], kind="pipe"), frame_interval=0.01, delay=0.2, grace=0.0)
    assert len(shots(items)) == 600 and reader.counts.dropped == 0


@pytest.mark.parametrize("to", [-5000.0, -0.55, 0.0, 5000.0])
def test_times_that_jump_begin_again_and_never_run_backwards(to):
    before = [frame(100 + i / 10) for i in range(5)]
    after = [frame(100.4 + to + i / 10) for i in range(5)]
    items, reader = read(Made([before + after], kind="pipe"))
    times = [shot.time for shot in shots(items)]
    resets = [shot.reset for shot in shots(items)]
    assert said(items) == ["connected", "restarted", "finished"] and reader.counts.restarts == 1
    assert np.all(np.diff(times) > 0) and max(times) < 5
    assert resets.count(True) == 2 and resets[0]


def test_times_grow_from_one_connection_to_the_next():
    """The first one gives three seconds at once."""
    scripts = [[frame(i / 10) for i in range(30)], [frame(50 + i / 10) for i in range(5)]]
    items, reader = read(Made(scripts), until=lambda items: len(shots(items)) == 35)
    assert len(shots(items)) == 35 and reader.counts.connections == 2
    assert np.all(np.diff([shot.time for shot in shots(items)]) > 0)


def test_missing_timestamps_are_filled_in():
    script = [frame(None if i % 5 == 4 else i / 10) for i in range(50)]
    items, reader = read(Made([script], kind="pipe"))
    assert np.diff([shot.time for shot in shots(items)]) == pytest.approx(0.1, abs=2e-3)
    assert len(shots(items)) == 50 and reader.counts.restarts == 0


def test_images_of_another_size_begin_again():
    script = [frame(0.0), frame(0.1), frame(0.2, size=(48, 64)), frame(0.3, size=(48, 64))]
    items, reader = read(Made([script], kind="pipe"))
    assert said(items) == ["connected", "resized", "finished"]
    assert next(item.reason for item in items if getattr(item, "type", "") == "resized") == "32x24 to 64x48"
    assert [shot.image.shape for shot in shots(items)] == [(24, 32, 3)] * 2 + [(48, 64, 3)] * 2
    assert [shot.reset for shot in shots(items)] == [True, False, True, False]
    assert reader.counts.restarts == 1


def test_broken_frames_are_counted_and_passed_over():
    items, reader = read(Made([[frame(0.0), BROKEN, frame(0.1), BROKEN, BROKEN]], kind="pipe"))
    assert len(shots(items)) == 2 and reader.counts.broken == 3 and reader.error is None


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_source_that_ends_without_a_whole_frame_is_an_error(kind):
    items, reader = read(Made([[BROKEN, BROKEN]], kind=kind))
    assert str(reader.error) == "made: none of its frames can be decoded" and reader.counts.broken == 2
    assert said(items) == ["connected", "lost"]


def test_a_lost_stream_is_opened_again_after_growing_pauses():
    refused = VideoError("made", "refused")
    source = Made([[frame(0.0)], refused, refused, [frame(0.0), frame(0.1)]])
    items, reader = read(source, pauses=(0.01, 0.02, 0.03), until=lambda items: len(shots(items)) == 3)
    reasons = [item.reason for item in items if getattr(item, "type", "") == "lost"]
    pauses = [("it ended", 0.01), ("refused", 0.02), ("refused", 0.03)]
    assert reasons[:3] == [f"{why}; trying again in {seconds} s" for why, seconds in pauses]
    assert [shot.reset for shot in shots(items)] == [True, True, False]
    assert np.all(np.diff([shot.time for shot in shots(items)]) > 0)
    assert reader.counts.connections == 2 and reader.counts.restarts == 1


def test_a_source_that_is_not_there_is_an_error_unless_it_is_waited_for():
    refused = VideoError("made", "refused")
    _, reader = read(Made([refused]))
    assert str(reader.error) == "made: refused"
    items, reader = read(Made([refused, [frame(0.0)]]), wait=True, until=lambda items: bool(shots(items)))
    assert reader.error is None and said(items) == ["lost", "connected"]


def test_a_file_that_was_cut_off_is_lost_at_its_end(tmp_path):
    """Of 30 s the first half of the bytes; whole, and with a clock that begins at 50 s, it is read to its end."""
    whole = late(tmp_path / "whole.mkv", length=300)
    items, reader = read(Source.parse(str(whole)), fast=True)
    assert said(items) == ["connected", "finished"] and reader.error is None
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    items, reader = read(Source.parse(str(cut)), fast=True)
    assert said(items) == ["connected", "lost"] and "of 30.0 s; given up" in items[-1].reason
    assert shots(items) and "ended early" in str(reader.error)


def test_a_recording_whose_times_ran_backwards_may_end_anywhere():
    script = [frame(0.0), frame(0.1), frame(0.0), frame(0.1)]
    items, reader = read(Made([script], kind="file", duration=60_000_000), fast=True)
    assert said(items) == ["connected", "restarted", "finished"] and reader.error is None


def test_a_source_that_stalls_is_let_be_and_said():
    goes_on = threading.Event()

    def script():
        yield frame(0.0)
        goes_on.wait(10)
        yield frame(0.1)

    source = Made([script()], kind="pipe")
    items, reader = read(source, stall=0.2, until=lambda items: "stalled" in said(items) and goes_on.set())
    assert said(items) == ["connected", "stalled", "resumed", "finished"]
    reasons = [item.reason for item in items if not isinstance(item, DueFrame)]
    assert reasons[1].startswith("no frame for 0.") and "without a frame" in reasons[2]
    assert (reader.counts.stalls, reader.counts.connections, reader.sampler.num_taken) == (1, 1, 2)


def test_what_is_said_of_a_recording_has_its_own_time():
    script = [frame(5 + i / 10, size=(24, 32) if i < 3 else (48, 64)) for i in range(6)]
    items, _ = read(Made([script], duration=6_000_000), fast=True)
    times = {item.type: item.time for item in items if not isinstance(item, DueFrame)}
    assert times == pytest.approx({"connected": 0.0, "resized": 5.3, "finished": 5.5})


def test_a_fault_of_ours_is_said_and_ends_the_thread():
    _, reader = read(Made([[frame(0.0), RuntimeError("unheard of")]]))
    assert "unheard of" in str(reader.error) and reader.done


def test_a_source_that_does_not_open_is_said():
    opens = threading.Event()

    class Silent(Made):
        def open(self, patience=10.0, threads=1):
            opens.wait(10)
            return super().open(patience)

    source = Silent([[frame(0.0)]], kind="pipe")
    items, _ = read(source, stall=0.2, until=lambda items: "stalled" in said(items) and opens.set())
    assert said(items)[:2] == ["stalled", "connected"] and len(shots(items)) == 1


def test_a_stream_of_which_nothing_can_be_decoded_is_opened_again():
    """Packets keep coming, so that no read is ever without an answer."""

    def noise():
        while True:
            time.sleep(0.01)
            yield BROKEN

    items, reader = read(Made([noise(), [frame(0.0)]]), stall=0.2, until=lambda items: bool(shots(items)), patience=0.4)
    assert said(items) == ["connected", "stalled", "lost", "connected"]
    reason = next(item.reason for item in items if getattr(item, "type", "") == "lost")
    assert reason.startswith("no frame that can be decoded for 0.4 s") and reader.counts.broken > 10
