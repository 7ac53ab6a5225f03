"""Optical flow from folders of images: which pairs make a frame, in which order, and what is no flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teinet.data import transforms
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing, TrainingCrop
from teinet.data.video.flow import FlowReader
from teinet.data.view_loading import load_views
from teinet.errors import ConfigError, VideoError
from tests import miniatures

FLOW = {"mean": (0.5,) * 10, "std": (0.226,) * 10}


def draw(folder: Path, count: int, name: str = "flow_{}_{:05d}.png", first: int = 1) -> Path:
    """Pairs of one gray level each: 100 + k for the k-th x, 150 + k for the k-th y, k from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(1, count + 1):
        for axis, level in (("x", 100 + k), ("y", 150 + k)):
            Image.new("L", (6, 4), level).save(folder / name.format(axis, first + k - 1))
    return folder


def levels(images: np.ndarray) -> list[list[int]]:
    assert (images == images[:, :1, :1]).all()
    return images[:, 0, 0].tolist()


def test_a_frame_is_five_pairs_from_its_own_on_and_x_and_y_take_turns(tmp_path):
    reader = FlowReader(draw(tmp_path / "clip", 7))
    assert len(reader) == 3 and reader.size == (6, 4) and np.isnan(reader.times).all()
    assert levels(reader.frames_at([0, 2]).images) == [
        [101, 151, 102, 152, 103, 153, 104, 154, 105, 155],
        [103, 153, 104, 154, 105, 155, 106, 156, 107, 157],
    ]
    assert [frame.image[0, 0, 0] for frame in reader] == [101, 102, 103]


def test_a_clip_of_fewer_than_five_pairs_repeats_the_last(tmp_path):
    reader = FlowReader(draw(tmp_path / "clip", 3))
    assert len(reader) == 1
    assert levels(reader.frames_at([0]).images) == [[101, 151, 102, 152, 103, 153, 103, 153, 103, 153]]


@pytest.mark.parametrize("name", ["{}_{}.png", "{}_{:05d}.jpg", "flow_{}_{}.jpg", "000012-{}_{:05d}.jpg"])
def test_other_tools_names_and_numbers_that_are_not_padded(tmp_path, name):
    reader = FlowReader(draw(tmp_path / "clip", 6, name, first=7))  # 7 to 12: 10 comes after 9
    assert levels(reader.frames_at([1]).images) == [[102, 152, 103, 153, 104, 154, 105, 155, 106, 156]]


def test_images_next_to_the_flow_are_no_flow(tmp_path):
    clip = miniatures.flow(tmp_path / "clip", right=2)
    for path in (clip, clip / "img_%05d.jpg"):
        reader = FlowReader(path)
        assert len(reader) == 4  # of 9 images, between which there are 8 fields
        x, y = reader.frames_at([0]).images[0, 16:20, 12:20, :2].mean((0, 1))
        assert x == pytest.approx(136, abs=2) and y == pytest.approx(128, abs=2)  # to the right: above 128


def test_what_is_no_flow_is_said_in_one_line(tmp_path):
    (tmp_path / "a.mp4").touch()
    needs = r"a flow network reads folders with pairs of images such as flow_x_00001\.jpg and flow_y_00001\.jpg$"
    with pytest.raises(VideoError, match=rf"a\.mp4: no folder; {needs}"):
        FlowReader(tmp_path / "a.mp4")
    miniatures.images(tmp_path / "rgb", 0, name="img_{:05d}.jpg")
    with pytest.raises(VideoError, match=f"rgb: it has no flow images; {needs}"):
        FlowReader(tmp_path / "rgb")
    (draw(tmp_path / "clip", 4) / "flow_y_00003.png").unlink()
    with pytest.raises(VideoError, match=r"its image flow_y_00003\.png is missing, the pair of flow_x_00003\.png$"):
        FlowReader(tmp_path / "clip")
    for k in range(1, 5):
        (tmp_path / "clip" / f"flow_x_{k:05d}.png").unlink()
    with pytest.raises(VideoError, match=r"its image flow_x_00001\.png is missing"):
        FlowReader(tmp_path / "clip")
    with pytest.raises(ConfigError, match=f"frames in memory are RGB; {needs}"):
        load_views(np.zeros((9, 36, 48, 3), np.uint8), Sampling(num_frames=2), Preprocessing(**FLOW))


def test_views_of_flow(tmp_path):
    clip = draw(tmp_path / "clip", 9)  # 5 frames, of which two parts have the middles 1 and 3
    pixels = Preprocessing(size=4, short_side=4, **FLOW)
    assert pixels.modality == "flow" and Preprocessing.from_dict(pixels.to_dict()) == pixels
    loaded = load_views(clip, Sampling(num_frames=2), pixels, "1x3")
    assert loaded.frames.shape == (3, 2, 4, 4, 10) and loaded.indices.tolist() == [[1, 3]]
    assert loaded.frames[0, :, 0, 0].tolist() == [
        [102, 152, 103, 153, 104, 154, 105, 155, 106, 156],
        [104, 154, 105, 155, 106, 156, 107, 157, 108, 158],
    ]


def test_ten_channels_are_resized_as_three_are():
    frames = np.random.default_rng(0).integers(0, 256, (2, 50, 60, 10), dtype=np.uint8)
    ten = transforms.test_crops(frames, Preprocessing(size=20, short_side=24, **FLOW))
    for start in (0, 3, 7):
        three = transforms.test_crops(frames[..., start : start + 3], Preprocessing(size=20, short_side=24))
        assert np.abs(ten[..., start : start + 3].astype(int) - three).max() <= 1


def test_a_flip_turns_x_around_and_not_y():
    """TSN's GroupRandomHorizontalFlip(is_flow=True): PIL's invert, 255 - value, of every x."""
    frame = np.zeros((1, 1, 3, 10), np.uint8)
    frame[0, 0, :, ::2] = np.array([[128, 200, 255]]).T  # x
    frame[0, 0, :, 1::2] = np.array([[1, 2, 3]]).T  # y
    pixels = Preprocessing(size=(1, 3), short_side=1, fit="squash", **FLOW)
    flipped, plain = (TrainingCrop(box=(0, 0, 1, 3), flipped=it, preprocessing=pixels)(frame) for it in (True, False))
    x, y = flipped[0, 0, :, ::2], flipped[0, 0, :, 1::2]
    assert x.T.tolist() == [[0, 55, 127]] * 5 and y.T.tolist() == [[3, 2, 1]] * 5
    assert np.array_equal(plain[0], frame[0])


def test_numbers_of_channels_that_do_not_exist():
    with pytest.raises(ConfigError, match=r"mean is .*three numbers \(R, G, B\), or 10 of flow"):
        Preprocessing(mean=(0.5,) * 2)
    with pytest.raises(ConfigError, match="mean has 10 numbers and std 3"):
        Preprocessing(mean=(0.5,) * 10)
