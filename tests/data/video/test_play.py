"""A file played from beginning to end gives the frames and seconds that reading by index gives."""

from __future__ import annotations

import av
import numpy as np
import pytest

from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.spacing import typical_spacing
from teinet.data.video.play import Condition, play, promised_length
from teinet.data.video.reader import read_clip
from teinet.errors import VideoError
from tests import miniatures
from tests.data.video.test_reader import NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".png")])
def test_every_frame_and_its_second(videos, name):
    whole = read_clip(videos[name], np.arange)
    played = list(play(videos[name]))
    assert len(played) == whole.num_frames
    np.testing.assert_array_equal(np.stack([picture for _, picture in played]), whole.data.numpy())
    seconds = np.array([second for second, _ in played])
    np.testing.assert_allclose(seconds, whole.times, atol=2e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".png")])
def test_a_whole_file_is_in_good_condition_and_reaches_its_stated_end(videos, name):
    condition = Condition()
    assert len(list(play(videos[name], condition=condition))) and condition.broken == 0
    stated = promised_length(videos[name])
    assert stated is None or stated - condition.end < 0.1


def test_a_file_cut_off_ends_before_its_stated_end(videos, tmp_path):
    """Three seconds, of which the first half of the bytes is there, the index at their beginning."""
    whole = videos["faststart.mp4"].read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    condition = Condition()
    frames = len(list(play(path, condition=condition)))
    assert 10 < frames < 65 and promised_length(path) == pytest.approx(3.0, abs=0.05)
    assert condition.end == pytest.approx(frames / 25, abs=0.1)


def late(path, seconds: float = 50.0, length: int = 50):
    """Pictures at 10 a second whose first one stands at `seconds`, as in the middle piece of a longer recording."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for count in range(length):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * count % 256, np.uint8), format="rgb24")
            frame.pts = round(10 * seconds) + count
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mkv", "webm", "flv", "mp4", "ts"])
def test_a_recording_whose_clock_begins_late_states_how_long_it_lasts(tmp_path, suffix):
    if suffix == "webm":
        path = late(tmp_path / "film.mkv").rename(tmp_path / "film.webm")
    else:
        path = late(tmp_path / f"film.{suffix}")
    condition = Condition()
    seconds = [second for second, _ in play(path, condition=condition)]
    assert seconds[0] == pytest.approx(0, abs=2e-3) and condition.end == pytest.approx(5.0, abs=2e-3)
    assert promised_length(path) == pytest.approx(5.0, abs=0.15)  # a transport stream says where its last frame begins


def test_sound_that_lasts_longer_promises_no_pictures(ffmpeg, videos, tmp_path):
    path = tmp_path / "sound.mp4"
    sound = ("-f", "lavfi", "-i", "sine=duration=9", "-i", videos["b_frames.mp4"])
    ffmpeg(*sound, "-c:v", "copy", "-c:a", "aac", path)
    assert promised_length(path) == pytest.approx(3.0, abs=0.1)


def test_broken_packets_are_counted_once(tmp_path):
    """The bytes of three inner packets are overwritten."""
    path = zero_packets(film(tmp_path / "film.avi", "mjpeg", {}, pixels="yuvj420p"), (10, 11, 40))
    condition = Condition()
    played = list(play(path, condition=condition, threads=1))
    assert condition.broken == 3 and len(played) == 57


def test_pictures_keep_the_size_that_the_file_gives_them(tmp_path):
    path = changing(tmp_path / "sizes.ts")
    assert [picture.shape for _, picture in play(path)] == [(32, 32, 3)] * 20 + [(48, 64, 3)] * 20


def test_only_what_is_wanted_is_made_a_picture(tmp_path):
    path = miniatures.write(tmp_path / "clip.mp4", 0, length=20, rate=10)
    asked = []

    def wanted(second: float) -> bool:
        asked.append(second)
        return len(asked) % 5 == 1

    played = list(play(path, wanted, threads=1))
    assert len(asked) == 20
    np.testing.assert_allclose([second for second, _ in played], [0, 0.5, 1.0, 1.5], atol=1e-6)


def test_what_cannot_be_played_is_one_line(tmp_path):
    (tmp_path / "none.mp4").write_bytes(b"no video at all")
    for path, words in [(tmp_path / "absent.mp4", "no such file"), (tmp_path / "none.mp4", "no video|cannot be|not a")]:
        with pytest.raises(VideoError, match=words):
            list(play(path))
    with pytest.raises(VideoError, match="no clock"):
        list(play(miniatures.write(tmp_path / "folder", 0)))


@pytest.mark.parametrize(
    ("sampling", "span", "want"),
    [
        (Sampling(num_frames=4), None, 2.0 / 4),
        (Sampling(num_frames=4), (0.5, 1.5), 1.0 / 4),
        (Sampling(num_frames=4, strategy="dense", window=8), None, 0.8 / 4),
        (Sampling(num_frames=4, strategy="dense", window=64), None, 2.0 / 4),
    ],
)
def test_the_spacing_of_training(tmp_path, sampling, span, want):
    paths = [str(miniatures.write(tmp_path / f"{k}.mp4", k, length=20, rate=10)) for k in range(3)]
    paths.append(str(tmp_path / "absent.mp4"))
    start, end = span or (np.nan, np.nan)
    clips = ClipList(
        paths=paths,
        labels=np.zeros(4, int),
        class_names=["a"],
        starts=np.full(4, start),
        ends=np.full(4, end),
        source="",
    )
    assert typical_spacing(clips, sampling) == pytest.approx(want, abs=1e-3)


def test_pictures_have_no_spacing(tmp_path):
    path = str(miniatures.write(tmp_path / "folder", 0))
    clips = ClipList([path], np.zeros(1, int), ["a"], np.full(1, np.nan), np.full(1, np.nan), "")
    assert typical_spacing(clips, Sampling(num_frames=4)) is None


def changing(path, sizes=((32, 32), (48, 64)), length: int = 20):
    """A transport stream at 10 frames a second whose picture (height, width) changes."""
    with open(path, "wb") as out:
        for number, (height, width) in enumerate(sizes):
            part = path.with_name(f"part{number}.ts")
            with av.open(str(part), "w") as container:
                stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                for count in range(length):
                    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 5 * count, np.uint8), format="rgb24")
                    frame.pts = number * length + count
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            out.write(part.read_bytes())
            part.unlink()
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
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = 32, 32, pixels
        for picture in miniatures.frames(5, length):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode())
    return path
