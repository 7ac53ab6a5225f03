"""Iterating over a video gives every frame with its time and where it begins again; timestamps become seconds."""

from __future__ import annotations

import subprocess
import sys

import av
import numpy as np
import pytest

from teinet.data.video.clocks import LiveClock, PlaybackClock, RecordedClock
from teinet.data.video.pixels import Converter
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError
from tests import miniatures
from tests.data.video.test_reader import NAMES


class Hand:
    """A clock that is moved by hand."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def live(hand=None, **options):
    return LiveClock(**{"gap": 2.0, "interval": 0.04, "now": hand or Hand()} | options)


@pytest.mark.parametrize(
    ("now", "stamps", "times"),
    [
        (7.0, [100.0, 100.5], [7.0, 7.5]),  # runs on from the first frame
        # every fifth is missing of a source of 10 frames a second that says it had 25
        (3.0, [None if i % 5 == 4 else 50 + i / 10 for i in range(20)], [3 + i / 10 for i in range(20)]),
        (0.0, [0.0, 0.1, None, None, 0.4, None], [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (0.0, [0.0, 0.5, None, 0.6, 1.2], [0, 0.5, 1.0, 1.001, 1.2]),  # a frame sooner than was thought
    ],
)
def test_a_live_clock_follows_the_spacing_of_timestamps(now, stamps, times):
    clock = live(Hand(now))
    found = [clock.time_of(stamp) for stamp in stamps]
    assert [time for time, _ in found] == pytest.approx(times)
    assert not any(jumped for _, jumped in found)


def test_timestamps_that_stay_away_give_way_to_the_time_of_arrival():
    hand = Hand()
    clock = live(hand, gap=0.25, interval=0.1)
    assert [clock.time_of(stamp)[0] for stamp in (5.0, None, None)] == pytest.approx([0, 0.1, 0.2])
    hand.now = 9.0
    assert clock.time_of(None)[0] == 9.0


def test_frames_without_timestamps_come_as_far_apart_as_they_do_on_average():
    """Every sixth second the network stops for 0.5 s, and delivers what it has held back at once."""
    hand = Hand()
    clock = live(hand)
    found = []
    for sent in np.arange(0, 30, 0.1):
        hand.now = max(hand.now, sent + (max(0.0, 0.5 - sent % 6) if sent > 3 else 0.0))
        found.append(clock.time_of(None)[0])
    steps = np.diff(found)
    assert (steps > 0.05).all() and steps.max() < 0.25
    assert np.abs(found - np.arange(0, 30, 0.1)).max() < 0.5


def test_frames_without_timestamps_follow_another_rate_and_a_pause():
    hand = Hand()
    clock = live(hand)
    sent = np.concatenate([np.arange(0, 3, 0.1), np.arange(3, 30, 0.5), [40.0]])
    found = []
    for hand.now in sent:
        found.append(clock.time_of(None)[0])
    assert np.abs(found - sent).max() < 1.1 and found[-1] == 40.0  # from 10 to 2 frames a second
    assert np.abs(found - sent)[-20:].max() < 0.4


@pytest.mark.parametrize("to", [-50.0, 0.0, 50.0])
def test_a_jump_is_said_and_set_by_our_clock(to):
    hand = Hand()
    clock = live(hand)
    clock.time_of(100.0), clock.time_of(100.5)
    hand.now = 0.7
    assert clock.time_of(100.5 + to) == (0.7, True)
    assert clock.time_of(101.0 + to) == (pytest.approx(1.2), False)


def test_a_connection_goes_on_after_the_one_before():
    """It had sent in a burst, to second 30, what our clock saw within the first."""
    clock = live(Hand(1.0), last_time=30.0)
    assert [clock.time_of(stamp)[0] for stamp in (0.0, 0.1)] == pytest.approx([30.001, 30.101])


def test_a_recording_counts_from_its_beginning_and_keeps_its_jumps():
    clock = RecordedClock(10.0, 0.1)
    found = [clock.time_of(stamp) for stamp in (10.0, None, 70.0, 10.5)]
    assert found == [(0.0, False), (0.1, False), (60.0, False), (0.5, False)]
    assert RecordedClock(10.0, 0.1).time_of(None) == (0.0, False)


@pytest.mark.parametrize(("seconds", "due"), [
    ([0.0, 0.1, 1.9, 2.0], [0.0, 0.1, 1.9, 2.0]), ([0.0, 0.1, 5000.0, 5000.1], [0.0, 0.1, 0.2, 0.3]),
    ([0.0, 0.1, 0.2, 0.0, 0.1, 0.2], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), ([3.0, 2.0, 1.0], [0.0, 0.1, 0.2]),
    ([5000.0, 5000.3], [0.0, 0.3]), ([0.5, 0.6], [0.5, 0.6]),
])  # fmt: skip
def test_where_times_jump_a_recording_is_shown_on_from_there(seconds, due):
    showing = PlaybackClock(100.0, gap=2.0, interval=0.1)
    assert [showing.due(second) - 100 for second in seconds] == pytest.approx(due)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".png")])
def test_iterating_gives_every_frame_with_its_time(videos, name):
    reader = VideoReader(videos[name])
    whole = reader.frames_at(np.arange(len(reader)))
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(whole.num_frames))
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), whole.images)
    np.testing.assert_allclose([frame.time for frame in frames], whole.times, atol=2e-3)
    assert [frame.is_discontinuity for frame in frames] == [True] + [False] * (len(frames) - 1)
    assert reader.num_broken == 0
    end = frames[-1].time + frames[-1].duration
    assert reader.stated_length == pytest.approx(end, abs=0.1)


def test_only_frames_that_are_asked_for_are_converted(videos, monkeypatch):
    converted = []
    convert = Converter.__call__
    monkeypatch.setattr(Converter, "__call__", lambda *args: converted.append(args) or convert(*args))
    images = [frame.image for frame in VideoReader(videos["b_frames.mp4"]) if frame.index % 25 == 0]
    assert len(images) == len(converted) == 3


def test_a_folder_of_images_is_iterated_without_times(tmp_path):
    reader = VideoReader(miniatures.write(tmp_path / "folder", 0))
    frames = list(reader)
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), reader.frames_at(range(10)).images)
    assert np.isnan([frame.time for frame in frames]).all() and np.isnan(reader.times).all()
    assert [frame.is_discontinuity for frame in frames] == [True] + [False] * 9
    assert reader.frame_rate is None and reader.end_time is None


def test_another_size_and_times_that_run_backwards_are_discontinuities(tmp_path):
    frames = list(VideoReader(changing(tmp_path / "sizes.ts")))
    assert [frame.image.shape for frame in frames] == [(32, 32, 3)] * 20 + [(48, 64, 3)] * 20
    assert [frame.index for frame in frames if frame.is_discontinuity] == [0, 20]
    part = film(tmp_path / "part.ts", "libx264", {"bf": "0"}, length=20).read_bytes()
    (tmp_path / "twice.ts").write_bytes(part + part)
    reader = VideoReader(tmp_path / "twice.ts")
    with reader.open() as stream:
        assert [frame.index for frame in stream if frame.is_discontinuity] == [0, 20]
        assert not stream.is_ordered and stream.is_recorded


def test_a_pipe_is_iterated_and_has_no_length(tmp_path):
    path = film(tmp_path / "film.ts", "libx264", {"bf": "0"}, length=20)
    code = (
        "import teinet; reader = teinet.VideoReader('-', start=0)\n"
        "try: len(reader)\n"
        "except TypeError as error: print(error)\n"
        "frames = list(reader)\n"
        "print(len(frames), round(frames[-1].time - frames[0].time, 3), frames[0].image.shape)\n"
    )
    with path.open("rb") as pipe:
        done = subprocess.run([sys.executable, "-c", code], stdin=pipe, capture_output=True, text=True, timeout=60)
    refusal = "standard input: live video has no length; iterate over the reader"
    assert done.stdout.splitlines() == [refusal, "20 1.9 (32, 32, 3)"], done.stderr


def test_what_is_a_path_and_what_is_live(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    miniatures.write(tmp_path / "camera", 0)
    assert VideoReader("camera").is_image_folder and VideoReader("camera:0").is_live
    assert VideoReader("rtsp://host/live").is_live and not VideoReader(tmp_path / "rtsp:").is_live
    with pytest.raises(VideoError, match="can only be iterated"):
        VideoReader("rtsp://host/live").frames_at([0])


def test_an_unreadable_file_is_one_line(tmp_path):
    (tmp_path / "none.mp4").write_bytes(b"no video at all")
    for path, words in [(tmp_path / "absent.mp4", "no such file"), (tmp_path / "none.mp4", "no video|cannot be|not a")]:
        with pytest.raises(VideoError, match=words):
            next(iter(VideoReader(path)))


def test_a_file_cut_off_ends_before_its_stated_end(videos, tmp_path):
    """Three seconds, of which the first half of the bytes is there, the index at their beginning."""
    whole = videos["faststart.mp4"].read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    reader = VideoReader(tmp_path / "cut.mp4")
    frames = [frame for frame in reader]  # noqa: C416, list() would ask for its length, which a cut-off file lacks
    assert 10 < len(frames) < 65 and reader.stated_length == pytest.approx(3.0, abs=0.05)
    assert frames[-1].time + frames[-1].duration == pytest.approx(len(frames) / 25, abs=0.1)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "flv", "mp4", "ts"])
def test_a_recording_whose_clock_begins_late_states_how_long_it_lasts(tmp_path, suffix):
    path = late(tmp_path / f"film.{suffix.replace('webm', 'mkv')}")
    reader = VideoReader(path.rename(tmp_path / f"film.{suffix}"))
    frames = list(reader)
    assert frames[0].time == pytest.approx(0, abs=2e-3)
    assert frames[-1].time + frames[-1].duration == pytest.approx(5.0, abs=2e-3)
    assert reader.stated_length == pytest.approx(5.0, abs=0.15)  # a transport stream says where its last frame begins


def test_sound_that_lasts_longer_promises_no_frames(ffmpeg, videos, tmp_path):
    sound = ("-f", "lavfi", "-i", "sine=duration=9", "-i", videos["b_frames.mp4"])
    ffmpeg(*sound, "-c:v", "copy", "-c:a", "aac", tmp_path / "sound.mp4")
    assert VideoReader(tmp_path / "sound.mp4").stated_length == pytest.approx(3.0, abs=0.1)


def test_broken_packets_are_counted(tmp_path):
    """The bytes of three inner packets are overwritten."""
    path = zero_packets(film(tmp_path / "film.avi", "mjpeg", {}, pixels="yuvj420p"), (10, 11, 40))
    reader = VideoReader(path, threads=1)
    assert len([0 for _ in reader]) == 57 and reader.num_broken == 3


def shades(length: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    return [np.full((height, width, 3), 5 * count % 256, np.uint8) for count in range(length)]


def late(path, seconds: float = 50.0, length: int = 50):
    """Images at 10 a second whose first one stands at `seconds`, as in the middle piece of a longer recording."""
    return miniatures.encode(path, shades(length), options={"bf": "0"}, first=round(10 * seconds))


def changing(path, sizes=((32, 32), (48, 64)), length: int = 20):
    """A transport stream at 10 frames a second whose size (height, width) changes."""
    parts = []
    for number, size in enumerate(sizes):
        part = path.with_name(f"part{number}.ts")
        miniatures.encode(part, shades(length, *size), options={"bf": "0"}, first=number * length)
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


def zero_packets(path, numbers):
    """Overwrite the bytes of some packets."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in (places[number] for number in numbers):
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def film(path, codec: str, options: dict[str, str], length: int = 60, rate: int = 10, pixels: str = "yuv420p"):
    """A file with several keyframes and the encoder's own B-frames."""
    return miniatures.encode(path, miniatures.frames(5, length), codec, options, rate=rate, pixels=pixels)
