"""A file played from beginning to end gives the frames and seconds that reading by index gives."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.data.clips import ClipList
from teinet.data.decode import read_clip
from teinet.data.play import play
from teinet.data.sampling import Sampling
from teinet.data.spacing import typical_spacing
from teinet.errors import VideoError
from tests import miniatures
from tests.data.test_decode import NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".png")])
def test_every_frame_and_its_second(videos, name):
    whole = read_clip(videos[name], np.arange)
    played = list(play(videos[name]))
    assert len(played) == whole.num_frames
    np.testing.assert_array_equal(np.stack([picture for _, picture in played]), whole.data.numpy())
    seconds = np.array([second for second, _ in played])
    np.testing.assert_allclose(seconds, whole.times, atol=2e-3)


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
