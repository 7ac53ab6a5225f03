"""Damage is counted and named, tolerated up to a share, and no frame loses its time by it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest

from teinet.cli.main import main
from teinet.data.tools.small_copy import Shrinking, shrink_video
from teinet.data.video import index
from teinet.data.video.reader import VideoReader
from teinet.detection import timeline
from teinet.errors import VideoError
from teinet.evaluation.ensemble import average
from teinet.evaluation.scores import Scores
from tests.networks import small_recognizer

X264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "10")


@pytest.fixture(scope="session")
def whole(ffmpeg, tmp_path_factory) -> dict[str, Path]:
    """100 frames of four seconds, keyframes at every tenth, in several containers."""
    folder = tmp_path_factory.mktemp("whole")
    scene = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4")
    ffmpeg(*scene, *X264, "-movflags", "+faststart", folder / "film.mp4")
    for name in ("film.mkv", "film.ts", "film.flv"):
        ffmpeg("-i", folder / "film.mp4", "-c", "copy", folder / name)
    ffmpeg("-i", folder / "film.mp4", "-c", "copy", "-movflags", "frag_keyframe+empty_moov", folder / "pieces.mp4")
    ffmpeg(*scene, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", folder / "film.avi")
    return {path.name: path for path in folder.iterdir()}


def zeroed(path: Path, numbers: range, copy: Path) -> Path:
    """Overwrite the bytes of these packets."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in places[numbers.start : numbers.stop]:
        data[start : start + size] = bytes(size)
    copy.write_bytes(data)
    return copy


def decoded(path: Path) -> list[tuple[float, np.ndarray]]:
    """The frames that FFmpeg decodes, with their seconds from the start of the file."""
    found = []
    with av.open(str(path)) as container:
        start = container.start_time / av.time_base
        for packet in container.demux(video=0):
            try:
                found += [(frame.time - start, frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
            except av.error.InvalidDataError:
                continue
    return sorted(found, key=lambda each: each[0])


@pytest.mark.parametrize("name", ["film.mp4", "pieces.mp4", "film.avi"])
@pytest.mark.parametrize("lost", [range(0, 10), range(40, 44), range(95, 100)], ids=["first", "middle", "last"])
def test_frames_keep_their_times(whole, tmp_path, name, lost):
    path = zeroed(whole[name], lost, tmp_path / name)
    want = decoded(path)
    assert 85 < len(want) < 100
    reader = VideoReader(path, max_damaged=0.2)
    reader.verify()
    np.testing.assert_allclose(reader.times, [time for time, _ in want], atol=1e-6)
    assert reader.damage == f"{100 - len(want)} of 100 frames cannot be decoded whole"
    for choice in ([0, 1, len(want) - 1], [45], [len(want) // 2]):
        frames = VideoReader(path, max_damaged=0.2).sample(lambda n, choice=choice: choice)
        for image, time, number in zip(frames.images, frames.times, choice):
            assert time == pytest.approx(want[number][0])
            assert np.abs(image.astype(int) - want[number][1]).max() <= 2
    first, last = reader.frames_shown(2.0, 2.4)[0], reader.frames_shown(2.0, 2.4)[-1]
    assert want[first][0] <= 2.0 + 1e-6 and want[last][0] < 2.4


def test_reading_finds_damage_before_the_frames_asked_for(whole, tmp_path, monkeypatch):
    """The first group is lost: the packets promise frames that do not come."""
    path = zeroed(whole["film.mp4"], range(10), tmp_path / "film.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(index, "_is_whole", lambda data, length_bytes: True)
        patch.setattr(index, "_ZEROS", b"none")
        reader = VideoReader(path)
        assert len(reader) == 100 and reader.damage == ""  # the packets are there
    frames = reader.sample(lambda n: [0])
    assert frames.times[0] == pytest.approx(0.4) and frames.num_frames == len(reader) == 90
    assert reader.damage == "10 of 100 frames cannot be decoded whole"
    index.clear_memory()
    assert VideoReader(path).damage == reader.damage  # remembered on disk
    with pytest.raises(VideoError, match="damaged: only 90 of its 100 frames can be decoded"):
        VideoReader(path, max_damaged=0.09).sample(range)


@pytest.mark.parametrize("name", ["film.mp4", "film.avi"])
def test_packets_show_that_they_are_overwritten(whole, tmp_path, name):
    path = zeroed(whole[name], range(41, 43), tmp_path / name)
    reader = VideoReader(path)
    assert reader.damage == f"{100 - len(decoded(path))} of 100 frames cannot be decoded whole"
    assert len(reader) == len(decoded(path))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.flv", "pieces.mp4", "film.avi"])
def test_a_tail_that_is_missing(whole, tmp_path, name):
    data = whole[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(0.955 * len(data)) + 1])
    reader = VideoReader(path)
    assert (
        90 <= len(reader) < 100
        and reader.damage.endswith(")")
        and " frames cannot be decoded whole (cut off: " in reader.damage
    )
    np.testing.assert_allclose(reader.times, [time for time, _ in decoded(path)], atol=1e-3)
    assert len(reader.sample(range).images) == len(reader)
    with pytest.raises(VideoError, match=r"^[^:]+: cut off: "):
        VideoReader(path, max_damaged=0).sample(range)
    path.write_bytes(data[: len(data) // 2])
    if name != "film.ts":  # which states no length
        with pytest.raises(VideoError, match=r"^[^:]+: cut off: "):
            VideoReader(path).sample(range)


def test_a_hole_that_a_demuxer_passes_over(whole, tmp_path):
    """Matroska's skips to the next cluster and marks nothing; an image that stands is no hole."""
    path = zeroed(whole["film.mkv"], range(42, 46), tmp_path / "hole.mkv")
    reader = VideoReader(path, max_damaged=0.9)
    lost = 100 - len(decoded(path))
    assert lost >= 4 and reader.damage == f"{lost} of 100 frames cannot be decoded whole"
    assert VideoReader(whole["film.mkv"]).damage == ""


def test_part_of_a_transport_stream_is_missing(whole, tmp_path):
    data = whole["film.ts"].read_bytes()
    middle = len(data) // 376 * 188
    (tmp_path / "hole.ts").write_bytes(data[:middle] + data[middle + 8 * 188 :])
    reader = VideoReader(tmp_path / "hole.ts", max_damaged=0.9)
    assert reader.damage.endswith("frames cannot be decoded whole") and len(reader) <= 100
    np.testing.assert_allclose(reader.times, [time for time, _ in decoded(tmp_path / "hole.ts")], atol=1e-3)


def test_frames_after_a_damaged_keyframe_are_those_of_decoding_from_the_start(whole, tmp_path):
    """FFmpeg fills what is missing from the frame before, which a seek to the keyframe leaves out: it is gray then."""
    data = bytearray(whole["film.mp4"].read_bytes())
    with av.open(str(whole["film.mp4"])) as container:
        start, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.is_keyframe][5]
    data[start + size // 2 : start + size // 2 + 60] = b"\xff" * 60  # the lengths of its units stay
    (tmp_path / "damaged.mp4").write_bytes(data)
    reader = VideoReader(tmp_path / "damaged.mp4")
    in_order = [frame.image for frame in VideoReader(tmp_path / "damaged.mp4", threads=1)]
    np.testing.assert_array_equal(reader.frames_at([52]).images[0], in_order[52])
    assert "of 100 frames cannot be decoded whole" in reader.damage


@pytest.mark.filterwarnings("error")
def test_a_tail_of_which_one_frame_is_left(whole, tmp_path):
    with av.open(str(whole["film.avi"])) as container:
        second = [packet.pos for packet in container.demux(video=0) if packet.size][1]
    (tmp_path / "cut.avi").write_bytes(whole["film.avi"].read_bytes()[: second + 100])
    assert len(VideoReader(tmp_path / "cut.avi", max_damaged=1)) == 1


def test_frames_that_come_in_part(whole, tmp_path):
    """Bytes within packets are exchanged: the decoder conceals what it cannot read."""
    data = bytearray(whole["film.mp4"].read_bytes())
    with av.open(str(whole["film.mp4"])) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in places[50:53]:
        data[start + size // 2 : start + size // 2 + 9] = b"\x5a" * 9
    (tmp_path / "bits.mp4").write_bytes(data)
    reader = VideoReader(tmp_path / "bits.mp4")
    reader.verify()
    assert len(reader) == 100 and reader.damage.endswith(" of 100 frames cannot be decoded whole")


def test_check_names_it(whole, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zeroed(whole["film.mp4"], range(95, 100), tmp_path / "film.mp4")
    (tmp_path / "list.csv").write_text("path,label\nfilm.mp4,x\n")
    words = ["data", "check", "list.csv", "--workers", "0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "1 file of 1 clip: 1 damaged" in out and "5 of 100" in out
    assert "damaged,5 of 100 frames cannot be decoded whole," in (tmp_path / "list-check.csv").read_text()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["damaged"], found["broken"], found["frames"]) == (0, 1, 0, 95)
    assert found["damaged_files"][0]["reason"] == "5 of 100 frames cannot be decoded whole"
    assert main([*words, "--max-damaged", "0.01"]) == 1
    assert "only 95 of its 100 frames" in capsys.readouterr().out
    assert main(words) == 0  # with more allowed it is no longer broken
    assert main([*words, "--max-damaged", "2"]) == 2
    assert "--max-damaged is 2; it is a share of a file's frames, 0 to 1" in capsys.readouterr().err


@pytest.fixture
def listed(whole, tmp_path, monkeypatch) -> Path:
    """A file that lacks its last five frames, in a list with a whole one, in/list.csv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = zeroed(whole["film.mp4"], range(95, 100), tmp_path / "in" / "film.mp4")
    (tmp_path / "in" / "whole.mp4").symlink_to(whole["film.mp4"])
    (tmp_path / "in" / "list.csv").write_text("path,label\nfilm.mp4,resting\nwhole.mp4,resting\n")
    return path


def test_shrink_names_it(listed, capsys):
    words = ["data", "shrink", "in/list.csv", "--workers", "0", "--short-side", "64", "--output"]
    assert main([*words, "small"]) == 0
    out = capsys.readouterr().out
    assert "in/film.mp4: 5 of 100 frames cannot be decoded whole" in out
    assert "1 damaged file copied as far as possible: small/damaged.csv" in out
    rows = "path,reason\nin/film.mp4,5 of 100 frames cannot be decoded whole\n"
    assert Path("small/damaged.csv").read_text() == rows
    assert main([*words, "small", "--json"]) == 0  # also of copies from before
    assert json.loads(capsys.readouterr().out)["damaged"][0]["reason"].startswith("5 of 100")
    assert len(VideoReader("small/film.mp4")) == 95 and not Path("small/unreadable.csv").exists()
    assert main([*words, "strict", "--max-damaged", "0.01"]) == 1
    assert "film.mp4: damaged: only 95 of its 100 frames can be decoded" in capsys.readouterr().out
    assert not Path("strict/film.mp4").exists() and not Path("strict/damaged.csv").exists()
    assert main([*words, "small", "--max-damaged", "0.01"]) == 2
    assert "was started with --short-side 64" in capsys.readouterr().err
    assert main([*words, "new", "--max-damaged", "2"]) == 2
    assert "--max-damaged is 2; it is a share" in capsys.readouterr().err


def test_shrink_names_what_only_decoding_finds(whole, tmp_path, monkeypatch):
    """The packets promise frames that do not come; where too many are lost, no copy is left."""
    one, two = (zeroed(whole["film.mp4"], range(90, 100), tmp_path / name) for name in ("one.mp4", "two.mp4"))
    monkeypatch.setattr(index, "_is_whole", lambda data, length_bytes: True)
    monkeypatch.setattr(index, "_ZEROS", b"none")
    assert VideoReader(one).damage == VideoReader(two).damage == ""
    target = tmp_path / "small.mp4"
    _, damage = shrink_video(str(one), target, Shrinking(short_side=64), lambda: None)
    assert damage == "10 of 100 frames cannot be decoded whole" and len(VideoReader(target)) == 90
    with pytest.raises(VideoError, match="only 90 of its 100 frames"):
        shrink_video(str(two), target, Shrinking(short_side=64, max_damaged=0.05), lambda: None)
    assert not target.exists()


def test_a_test_names_it(listed, capsys):
    small_recognizer().save("net.safetensors")
    words = ["test", "net.safetensors", "--data", "in/list.csv", "--workers", "0", "--output"]
    assert main([*words, "one"]) == 0
    out = capsys.readouterr().out
    assert "film.mp4" in out and "5 of 100 frames cannot be decoded whole" in out and "1 damaged file" in out
    with Path("one/damaged.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row == {"path": "in/film.mp4", "reason": "5 of 100 frames cannot be decoded whole"}
    assert main([*words, "one", "--json"]) == 0  # of an earlier test
    assert json.loads(capsys.readouterr().out)["num_damaged"] == 1
    one = Scores.load("one")
    assert one.damages == (row["reason"], "") and average([one, one]).damaged == one.damaged
    assert main([*words, "one", "--max-damaged", "0.01"]) == 2  # other scores
    assert main([*words, "two", "--max-damaged", "0.01"]) == 1
    assert "film.mp4,damaged: only 95 of its 100 frames" in Path("two/unreadable.csv").read_text()
    assert Scores.load("two").damaged == []
    assert main([*words, "new", "--max-damaged", "2"]) == 2


def test_ffv1_is_decoded_from_the_start(ffmpeg, tmp_path):
    """What a damaged keyframe of it lacks comes from the frame before, without a word of FFmpeg."""
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1")
    ffmpeg(*source, "-c:v", "ffv1", "-g", "1", tmp_path / "a.mkv")
    ffmpeg(*source, "-c:v", "mjpeg", tmp_path / "b.mkv")
    keys = [len(index.frame_index(str(tmp_path / name)).keys) for name in ("a.mkv", "b.mkv")]
    assert keys == [0, 25]


def without(path: Path, frames: set[int], copy: Path) -> Path:
    """Leave out all transport packets of these frames, as a network loses them."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    parts = zip([0, *places], [*places, len(data)], strict=True)
    copy.write_bytes(b"".join(data[begin:end] for number, (begin, end) in enumerate(parts, -1) if number not in frames))
    return copy


def test_frames_that_a_network_lost_are_counted_alike(ffmpeg, tmp_path):
    """Nothing is left of them but a counter of packets that jumps; where streams are joined, it jumps as well."""
    scene = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4", "-pix_fmt", "yuv420p")
    ffmpeg(*scene, "-c:v", "libx264", "-g", "1", "-bf", "0", tmp_path / "whole.ts")
    holes = without(tmp_path / "whole.ts", {20, 50, 51, 52, 70}, tmp_path / "holes.ts")
    assert VideoReader(holes).damage == "5 of 100 frames cannot be decoded whole"
    found = timeline(small_recognizer(), holes, frame_interval=0.2)
    assert found.broken == 5
    with pytest.raises(VideoError, match="5 of its 100 frames"):
        timeline(small_recognizer(), holes, frame_interval=0.2, max_damaged=0.04)
    with VideoReader(holes).open() as frames:
        assert (sum(1 for _ in frames), frames.num_broken) == (95, 5)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * (tmp_path / "whole.ts").read_bytes())
    assert VideoReader(joined).damage == "" and timeline(small_recognizer(), joined, frame_interval=0.2).broken == 0
