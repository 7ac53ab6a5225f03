"""Views: the paper's protocols by name, one decode for all clips, and what is wrong with frames said in words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from teinet import Recognizer, create_model
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import write_video
from teinet.data.view_loading import load_views
from teinet.data.views import Views
from teinet.errors import ConfigError, VideoError

SMALL = Preprocessing(size=28, short_side=32)
FOUR = Sampling(num_frames=4)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Fifty frames, 64x48, whose gray level is four times their number; 25 a second."""
    frames = np.broadcast_to((4 * np.arange(50, dtype=np.uint8))[:, None, None, None], (50, 48, 64, 3))
    return write_video(tmp_path_factory.mktemp("views") / "gray.mp4", frames, 25, quantizer=4)


@pytest.mark.parametrize(("text", "clips", "crops", "full"), [
    ("1x1", 1, 1, False), ("10x3", 10, 3, True), ("10x3/crop", 10, 3, False), ("2x1/full", 2, 1, True),
    ("4x5", 4, 5, True),
])  # fmt: skip
def test_the_protocols_by_name(text, clips, crops, full):
    views = Views.parse(text)
    assert (views.num_clips, views.num_crops, views.full_resolution) == (clips, crops, full)
    assert str(views) == text and len(views) == clips * crops and Views.parse(views) == views


@pytest.mark.parametrize("text", ["", "10", "x3", "10x0", "0x1", "10x3/huge", "ten x three", "1x1x1"])
def test_views_that_do_not_exist_are_refused(text):
    with pytest.raises(ConfigError, match="views"):
        Views.parse(text)


def test_ten_clips_and_three_crops_come_from_one_reading(video, monkeypatch):
    calls, read = [], VideoReader.sample
    monkeypatch.setattr(VideoReader, "sample", lambda *a, **k: calls.append(a) or read(*a, **k))
    loaded = load_views(video, FOUR, SMALL, "10x3")
    assert len(calls) == 1
    assert loaded.frames.shape == (30, 4, 32, 32, 3) and loaded.frames.dtype == np.uint8
    assert loaded.num_frames == 50
    # the rule of the protocol: clip j takes, in segment i, frame floor((i + (j + 0.5) / V) * n / T)
    rule = np.floor((np.arange(4)[None] + (np.arange(10)[:, None] + 0.5) / 10) * 50 / 4)
    assert np.array_equal(loaded.indices, rule)
    np.testing.assert_allclose(loaded.times, rule / 25, atol=1e-6)
    # the pixels say which frame they are; the crops of a clip stand together
    gray = loaded.frames.mean((2, 3, 4)).reshape(10, 3, 4)
    assert np.abs(gray - 4 * rule.reshape(10, 1, 4)).max() < 3


def test_a_view_is_the_crop_of_its_own_frames():
    frames = torch.randint(0, 256, (11, 40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    loaded = load_views(frames, FOUR, SMALL, Views(3, 3))
    for clip in range(3):
        alone = test_crops(frames[loaded.indices[clip]], SMALL, 3, True)
        assert np.array_equal(loaded.frames[3 * clip : 3 * clip + 3], alone)
    assert loaded.times is None and loaded.num_frames == 11


def test_a_squashed_image_has_no_several_crops():
    squashed = Preprocessing(size=32, short_side=32, fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    frames = np.zeros((9, 32, 64, 3), np.uint8)
    assert load_views(frames, FOUR, squashed, "2x1").frames.shape == (2, 4, 32, 32, 3)
    with pytest.raises(ConfigError, match="of which there is one crop; use 2x1"):
        load_views(frames, FOUR, squashed, "2x3")
    model = create_model("tsn_test_resnet", num_classes=2, num_frames=4, pretrained=False)
    recognizer = Recognizer(model, ["a", "b"], preprocessing=squashed)
    with pytest.raises(ConfigError, match="use 2x1"):  # at once, not for each video
        recognizer.predict_many(["a.mp4"], views="2x3")


def test_a_span_is_a_video_of_its_own(video):
    span = load_views(video, FOUR, SMALL, "1x1", start=1.0, end=1.4)
    assert span.num_frames == 10
    assert span.indices.tolist() == [[26, 28, 31, 33]]  # frame 25 is second 1
    with pytest.raises(VideoError, match="no frames"):
        load_views(video, FOUR, SMALL, "1x1", start=5)


@pytest.mark.parametrize(("frames", "said"), [
    (np.zeros((4, 8, 8), np.uint8), r"\(4, 8, 8\), expected \(T, H, W, 3\)"),
    (np.zeros((8, 8, 3), np.uint8), r"frames\[None\]"), (np.zeros((4, 3, 8, 8), np.uint8), r"transpose\(0, 2, 3, 1\)"),
    (torch.zeros((4, 3, 8, 8), dtype=torch.uint8), r"permute\(0, 2, 3, 1\)"),
    (np.zeros((4, 8, 8, 3), np.float32), "float32, expected uint8"),
    (torch.zeros((4, 8, 8, 3)), "torch.float32, expected uint8"),
    (np.zeros((0, 8, 8, 3), np.uint8), "no pixels"), ([1, 2], "image 0 of the list is int64"),
])  # fmt: skip
def test_wrong_frames_are_named(frames, said):
    with pytest.raises(ConfigError, match=said):
        load_views(frames, FOUR, SMALL)


def test_frames_in_memory_have_no_seconds():
    with pytest.raises(ConfigError, match="slic"):
        load_views(np.zeros((4, 8, 8, 3), np.uint8), FOUR, SMALL, start=1)


def test_reversed_and_read_only_arrays_are_taken():
    frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    expected = load_views(frames[::-1].copy(), FOUR, SMALL).frames
    assert np.array_equal(load_views(frames[::-1], FOUR, SMALL).frames, expected)
    frames.setflags(write=False)
    assert np.array_equal(load_views(frames, FOUR, SMALL).frames, load_views(frames.copy(), FOUR, SMALL).frames)


def test_several_decoder_threads_do_not_wait_for_each_other_for_ever(video):
    """FFmpeg's threads report errors of their own; reported through Python, they would wait for its lock."""
    code = (
        "import sys; from teinet.data.video.reader import VideoReader\n"
        "for _ in range(20): VideoReader(sys.argv[1], threads='auto').sample(lambda n: [2, 7, 13, 18])"
    )
    subprocess.run([sys.executable, "-c", code, str(video)], check=True, timeout=60)
