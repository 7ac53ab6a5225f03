"""How far apart the frames of training lie."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.spacing import typical_spacing
from tests import miniatures


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
