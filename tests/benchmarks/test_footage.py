"""motion_pairs on real video: each split has its own files, and the files' direction says nothing about the class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.footage import Footage, draw
from teinet.data.motion_pairs import CLASS_NAMES, MotionPairs
from teinet.data.video.writer import write_video
from tests.miniatures import decoded

SMALL = MotionPairs(train=2, val=1, test=2, size=32, frames=8, noise=0, distractors=0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Sixteen files, each of a gray of its own that grows a little brighter with time."""
    folder = tmp_path_factory.mktemp("footage")
    for number in range(16):
        gray = 20 + 14 * number + np.arange(12) // 2  # 0 to 5 on top of the file's own gray
        frames = np.broadcast_to(gray[:, None, None, None], (12, 48, 64, 3)).astype(np.uint8)
        (folder / str(number % 2)).mkdir(exist_ok=True)
        write_video(folder / str(number % 2) / f"{number}.mp4", frames, 10, quantizer=1)
    return folder


def behind(clip: np.ndarray) -> np.ndarray:
    """The gray behind the things, frame by frame: what is commonest along the image's rim."""
    rim = np.concatenate([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], axis=1).mean(axis=-1)
    return np.median(rim, axis=1)


def test_the_files_are_seen_behind_the_things_forwards_and_backwards_alike(videos, tmp_path):
    footage = Footage(videos)
    root = draw(tmp_path / "set", replace(SMALL, train=8), footage)
    directions = []
    for split in ("train", "test"):
        own = {int(path.stem) for path in footage.files[split]}
        for path in sorted((root / split / "moving left").iterdir()):
            gray = behind(decoded(path))
            # drawn with a light of 0.8 to 1
            assert any(0.8 * (20 + 14 * n) - 4 < gray.mean() < 20 + 14 * n + 8 for n in own), own
            directions.append(np.sign(gray[-1] - gray[0]))
    assert {-1.0, 1.0} <= set(directions)


def test_partners_are_still_each_other_backwards(videos, tmp_path):
    root = draw(tmp_path / "set", SMALL, Footage(videos))
    for forward, backward in zip(
        sorted((root / "test" / "moving left").iterdir()), sorted((root / "test" / "moving right").iterdir())
    ):
        np.testing.assert_array_equal(decoded(forward), decoded(backward)[::-1])
    assert len(CLASS_NAMES) == len(list((root / "test").iterdir()))
