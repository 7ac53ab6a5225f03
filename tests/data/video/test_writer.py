"""What a writer was given is what the file holds; without a good end there is no file."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from teinet.data.video import writer
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import VideoWriter, write_reversed, write_video
from tests import miniatures


def test_frames_come_back_at_their_times(tmp_path):
    images = np.ascontiguousarray(miniatures.frames(0, 12))
    ticks = [0, 40, 80, 200, 210, 300, 400, 500, 600, 700, 800, 1000]
    with VideoWriter(tmp_path / "a.mp4", 10, quality=4, keyframe_interval=4, time_base=Fraction(1, 1000)) as video:
        for image, tick in zip(images, ticks):
            video.write(image, ticks=tick, duration=100)
    video = VideoReader(tmp_path / "a.mp4")
    np.testing.assert_allclose(video.times, np.array(ticks) / 1000, atol=1e-6)
    assert video._index.keys.tolist() == [0, 4, 8]
    assert np.abs(video.frames_at(range(12)).images.astype(int) - images).mean() < 6


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, Fraction(30000, 1001)) as video:
            for image in miniatures.frames(1, 8):
                video.write(image)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content == (tmp_path / "b.mp4").read_bytes()
    assert b"mbtree=0" in content  # with the macroblock tree, some in a hundred differ, on a busy machine more
    assert VideoReader(tmp_path / "a.mp4").frame_rate == pytest.approx(30000 / 1001)


def test_without_a_good_end_there_is_no_file(tmp_path):
    with pytest.raises(KeyError), VideoWriter(tmp_path / "a.mp4", 10) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
        raise KeyError
    with pytest.raises(ValueError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", 10):
        pass
    with pytest.raises(ValueError, match="even height and width"), VideoWriter(tmp_path / "a.mp4", 10) as video:
        video.write(np.zeros((32, 31, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(
    "write", [lambda source, out: write_video(out, np.zeros((2, 32, 32, 3), np.uint8), 10), write_reversed]
)
def test_a_full_disk_is_the_systems_error_and_not_the_videos(write, tmp_path, monkeypatch):
    source = write_video(tmp_path / "source.mp4", np.zeros((2, 32, 32, 3), np.uint8), 10)
    monkeypatch.setattr(writer, "replacing", lambda path: nullcontext(Path("/dev/full")))
    with pytest.raises(OSError, match="No space left") as caught:
        write(source, tmp_path / "out.mp4")
    assert caught.value.filename == str(tmp_path / "out.mp4")
