"""Crops and resizes give the pixels that PIL's give, from the places that TSN's code names."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from teinet.data import transforms
from teinet.data.transforms import Augmentation, Preprocessing, TrainingCrop, crop_positions
from teinet.errors import ConfigError

PIL_FILTER = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
sides = st.integers(1, 90)


def train_clip(frames, preprocessing, augmentation, rng) -> tuple[np.ndarray, bool]:
    crop = TrainingCrop.draw(*frames.shape[1:3], preprocessing, augmentation, rng)
    return crop(frames), crop.flipped


def images(height: int, width: int, count: int = 2) -> np.ndarray:
    """Smooth color waves with noise, (count, H, W, 3) uint8."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    waves = np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 11)], -1) * 90 + 128
    return (waves + rng.normal(0, 20, (count, height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(120, 160), (161, 121), (40, 55), (480, 640)])
def test_test_crops_equal_pils_resize_and_crop(height, width, interpolation):
    frames = images(height, width)
    short, size = 64, 56
    preprocessing = Preprocessing(size=size, short_side=short, interpolation=interpolation)
    crops = transforms.test_crops(frames, preprocessing, 3)
    assert crops.shape == (3, 2, size, size, 3) and crops.dtype == np.uint8
    new = (int(short * width / height), short) if width >= height else (short, int(short * height / width))
    for t in range(2):
        whole = np.asarray(Image.fromarray(frames[t]).resize(new, PIL_FILTER[interpolation]))
        free_y, free_x = whole.shape[0] - size, whole.shape[1] - size
        if width >= height:
            places = [(free_y // 2, x) for x in (0, free_x // 2, free_x)]
        else:
            places = [(y, free_x // 2) for y in (0, free_y // 2, free_y)]
        for crop, (y, x) in zip(crops[:, t], places):
            expected = whole[y : y + size, x : x + size].astype(int)
            assert np.abs(crop - expected).max() <= 2
    assert (transforms.test_crops(frames, preprocessing)[0] == crops[1]).all()


@pytest.mark.parametrize(("height", "width"), [(60, 160), (160, 60), (64, 64), (56, 56)])
@pytest.mark.parametrize("size", [(56, 56), (40, 71)])
def test_a_squashed_image_is_pils_resize_of_all_of_it(height, width, size):
    frames = images(height, width)
    preprocessing = Preprocessing(size=size, short_side=min(size), fit="squash")
    (clip,) = transforms.test_crops(frames, preprocessing)
    assert clip.shape == (2, *size, 3) and preprocessing.shape == size
    for t, frame in enumerate(frames):
        whole = Image.fromarray(frame).resize(size[::-1], PIL_FILTER["bilinear"])
        assert np.abs(clip[t] - np.asarray(whole, dtype=int)).max() <= 2
    trained, _ = train_clip(frames, preprocessing, Augmentation(scales=(1,)), np.random.default_rng(0))
    assert (trained == clip).all()


def test_a_training_clip_of_a_squashed_image_is_cut_from_each_side_in_proportion():
    """Columns and rows count up, so that a clip's corners tell its box."""
    height, width = 60, 240
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    frames = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)[None]
    squashed = Preprocessing(size=32, short_side=32, fit="squash")
    shares, wide = set(), []
    for seed in range(100):
        clip, _ = train_clip(frames, squashed, Augmentation(scales=(1, 0.75)), np.random.default_rng(seed))
        for channel, side in ((0, height), (1, width)):
            ends = clip[0, ..., channel].astype(float)
            seen = (ends.max() - ends.min()) / side
            shares.add("all" if seen > 0.9 else "three quarters" if 0.65 < seen < 0.8 else seen)
        wide.append(clip[0, ..., 1].mean() / width)
    assert shares == {"all", "three quarters"}
    assert 0.35 < min(wide) < 0.4 and 0.6 < max(wide) < 0.65  # three quarters at the left, at the right


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_training_clip_is_one_of_tsns_boxes_resized_once(interpolation):
    """Every clip is, within PIL's rounding, PIL's resize of one of the 10 x 13 boxes; all frames share the box."""
    height, width, size = 90, 120, 48
    frames = images(height, width)
    preprocessing = Preprocessing(size=size, short_side=64, interpolation=interpolation)
    scales = Augmentation().scales
    candidates = {}
    for i, tall in enumerate(scales):
        for j, wide in enumerate(scales):
            if abs(i - j) > 1:
                continue
            for down, right in crop_positions():
                h, w = round(height * tall), round(height * wide)
                top, left = round(down * (height - height * tall)), round(right * (width - height * wide))
                box = (left, top, left + w, top + h)
                cut = [Image.fromarray(f).crop(box) for f in frames]
                resized = [c.resize((size, size), PIL_FILTER[interpolation]) for c in cut]
                candidates[box] = np.stack([np.asarray(c, dtype=int) for c in resized])
    seen = set()
    for seed in range(60):
        clip, was_flipped = train_clip(frames, preprocessing, Augmentation(), np.random.default_rng(seed))
        assert clip.shape == (2, size, size, 3) and clip.dtype == np.uint8 and not was_flipped
        box = min(candidates, key=lambda box: np.abs(candidates[box] - clip).max())
        assert np.abs(candidates[box] - clip).max() <= 2
        seen.add(box)
    assert len(seen) > 20


def test_all_thirteen_positions_are_drawn_alike_often():
    augmentation = Augmentation(scales=(0.5,))
    boxes = [transforms._jittered_box(80, 80, "crop", augmentation, np.random.default_rng(i)) for i in range(1300)]
    drawn = Counter((4 * top / 40, 4 * left / 40) for top, left, _, _ in boxes)  # in quarters of the free 40 pixels
    corners, edges, quarters = [(0, 0), (0, 4), (4, 0), (4, 4)], [(0, 2), (2, 0), (2, 4), (4, 2)], (1, 3)
    assert set(drawn) == {*corners, *edges, (2, 2), *((y, x) for y in quarters for x in quarters)}
    assert all(60 < count < 145 for count in drawn.values())  # 100 expected, deviation 9.6
    assert set(drawn) == {(4 * y, 4 * x) for y, x in crop_positions()}


def test_center_crop_stays_in_the_middle():
    """An image symmetric both ways has a symmetric center crop."""
    y, x = np.meshgrid(np.abs(np.arange(80) - 39.5), np.abs(np.arange(120) - 59.5), indexing="ij")
    frames = np.repeat((y + x)[..., None], 3, -1).astype(np.uint8)[None]
    augmentation = Augmentation(crop="center", scales=(1, 0.5))
    for seed in range(10):
        clip, _ = train_clip(frames, Preprocessing(size=32, short_side=40), augmentation, np.random.default_rng(seed))
        for side in (1, 2):
            assert np.abs(clip.astype(int) - np.flip(clip, side)).max() <= 1


def test_random_crops_lie_anywhere_and_are_cut_from_short_sides_drawn_evenly():
    """As in SlowFast's code: 224 pixels of a short side between 256 and 320 are 0.875 to 0.7 of it."""
    augmentation = Augmentation(crop="random", scales=(0.875, 0.7))
    boxes = [transforms._jittered_box(200, 300, "crop", augmentation, np.random.default_rng(i)) for i in range(2000)]
    top, left, height, width = np.array(boxes).T
    assert (height == width).all()
    shorts = 224 / (height / 200)
    assert 256 <= shorts.min() < 257 and 319 < shorts.max() <= 320
    assert abs(shorts.mean() - 288) < 1.7  # 4 standard errors of 64 / sqrt(12 * 2000)
    for place in (top / (200 - height), left / (300 - width)):
        assert 0 <= place.min() < 0.01 and 0.99 < place.max() <= 1 and abs(place.mean() - 0.5) < 0.026
    wide = transforms._jittered_box(50, 300, "squash", augmentation, np.random.default_rng(0))
    assert wide[2] / 50 == pytest.approx(wide[3] / 300)


def test_mirror_flips_half_of_the_clips_and_changes_nothing_else():
    frames = images(60, 80)
    preprocessing = Preprocessing(size=32, short_side=40)
    flipped = 0
    for seed in range(200):
        plain, _ = train_clip(frames, preprocessing, Augmentation(), np.random.default_rng(seed))
        clip, was_flipped = train_clip(frames, preprocessing, Augmentation(hflip=True), np.random.default_rng(seed))
        assert (clip == (plain[:, :, ::-1] if was_flipped else plain)).all()
        flipped += was_flipped
    assert 70 <= flipped <= 130


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(0, 1000))
def test_any_size_works_even_smaller_than_the_crop(height, width, seed):
    frames = np.full((2, height, width, 3), 77, np.uint8)
    preprocessing = Preprocessing(size=28, short_side=32)
    clip, _ = train_clip(frames, preprocessing, Augmentation(), np.random.default_rng(seed))
    assert clip.shape == (2, 28, 28, 3) and (clip == 77).all()
    for full in (False, True):
        crops = transforms.test_crops(frames, preprocessing, 3, full)
        assert crops.shape == (3, 2, *(2 * (32 if full else 28,)), 3) and (crops == 77).all()


def test_frames_of_another_shape_or_type_are_refused():
    for wrong in (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 8, 8, 3), torch.zeros(0, 8, 8, 3).byte()):
        with pytest.raises(ValueError, match=r"\(T, H, W, 3\) uint8"):
            transforms.test_crops(wrong, Preprocessing())


def test_preprocessing_survives_json_and_refuses_what_it_does_not_know():
    colors = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    preprocessing = Preprocessing(size=(160, 284), short_side=160, fit="squash", interpolation="bicubic", **colors)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    with pytest.raises(ConfigError, match=r"short_sid.*Did you mean 'short_side'"):
        Preprocessing.from_dict({"short_sid": 256})
    for wrong in (
        {"size": 0}, {"size": 300}, {"size": (160, 200)}, {"size": (160,), "fit": "squash"}, {"fit": "squash"},
        {"interpolation": "cubic"}, {"fit": "squeeze"}, {"mean": (0.5,)}, {"std": (0, 1, 1)}, {"short_side": 2**70},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            Preprocessing(**wrong)
    for wrong in ({"crop": "corner"}, {"scales": ()}, {"scales": (1.5,)}):
        with pytest.raises(ConfigError):
            Augmentation(**wrong)


def test_one_frame_is_cut_as_in_a_test():
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    wanted = Preprocessing(size=32, short_side=36)
    assert np.array_equal(transforms.crop_frame(frames[1], wanted), transforms.test_crops(frames, wanted)[0, 1])


@pytest.mark.parametrize("shape", [(1080, 1920), (720, 405), (256, 341), (60, 80), (300, 300)])
@pytest.mark.parametrize("how", [{"size": 224}, {"size": 200, "short_side": 256, "interpolation": "bicubic"},
                                 {"size": (120, 200), "short_side": 120, "fit": "squash"}])  # fmt: skip
def test_a_frame_that_was_made_small_has_the_same_crop(shape, how):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    wanted = transforms.Preprocessing(**how)
    small = transforms.shrink_frame(image, wanted)
    assert small is image or small.size < min(image.size, 3 * 456 * 256 + 1)
    assert np.array_equal(transforms.crop_frame(small, wanted), transforms.crop_frame(image, wanted))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_torchvision_pil_resizes_to_nearly_the_same_pixels(interpolation, monkeypatch):
    frames = images(120, 160)
    wanted = Preprocessing(size=56, short_side=64, interpolation=interpolation)
    usual = transforms.test_crops(frames, wanted, 3)
    monkeypatch.setattr(transforms, "_HAS_TORCHVISION", False)
    crops = transforms.test_crops(frames, wanted, 3)
    assert crops.shape == usual.shape and crops.dtype == np.uint8
    change = np.abs(crops.astype(int) - usual)
    assert change.max() <= 2 and (change > 0).mean() < 0.02
    whole = np.asarray(Image.fromarray(frames[0]).resize((85, 64), PIL_FILTER[interpolation]))
    assert np.array_equal(crops[0, 0], whole[4:60, :56])
