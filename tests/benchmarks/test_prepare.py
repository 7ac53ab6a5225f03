"""The script that draws depth maps as gray videos: which depth becomes which gray, what the files' names stand for."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import savemat

SCRIPT = str(Path(__file__).parents[2] / "benchmarks" / "evidence" / "prepare.py")


@pytest.mark.parametrize(
    ("data_set", "name", "depths", "clip", "label"),
    [
        ("utd_mhad", "a24_s3_t2_depth.mat", (0, 2000, 3000, 4000, 4500), "a24_s3_t2.mp4", "sit to stand"),
        ("msr_action3d", "a04_s10_e01_depth.mat", (0, 370, 480, 590, 700), "a04_s10_e01.mp4", "hand catch"),
    ],
)
def test_depth_becomes_grey(tmp_path, monkeypatch, data_set, name, depths, clip, label):
    depth = np.repeat(np.array(depths, np.uint16), 48)[:, None, None]  # bands of 48 rows
    depth = np.broadcast_to(depth, (240, 320, 6)).copy()
    (tmp_path / "mats").mkdir()
    savemat(tmp_path / "mats" / name, {"d_depth": depth})
    monkeypatch.setattr(sys, "argv", ["prepare.py", data_set, str(tmp_path / "mats"), str(tmp_path / "out")])
    runpy.run_path(SCRIPT, run_name="__main__")
    (row,) = csv.DictReader((tmp_path / "out" / "clips.csv").open())
    assert row["path"] == f"clips/{clip}" and row["label"] == label
    assert (row["subject"], row["repetition"]) == tuple(str(int(part[1:])) for part in clip[:-4].split("_")[1:])
    with av.open(str(tmp_path / "out" / row["path"])) as file:
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    assert len(frames) == 6 and frames[0].shape == (240, 320)
    middles = frames[3][24::48, 160].astype(float)  # limited range: 16 to 235 stand for 0 to 255
    gray = (middles - 16) * 255 / 219 if middles.max() < 240 else middles
    np.testing.assert_allclose(gray, (0, 255, 147.5, 40, 40), atol=4)
