"""A short seeded run follows the curve that was recorded: whatever changes training shows here.

`python tests/training/test_loss_curve.py` records it again; look at the difference, and say in the commit why.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.data.video.writer import write_video
from teinet.training.run_dir import read_log

RECORDED = Path(__file__).with_name("loss_curve.json")


def draw(root: Path) -> Path:
    """Two classes of a bright square that moves to the left or to the right, drawn without random numbers."""
    rows, columns = np.mgrid[:36, :48]
    noise = ((rows * 7 + columns * 13) % 61).astype(np.uint8)
    for name, speed in (("left", -3), ("right", 3)):
        (root / name).mkdir(parents=True)
        for number in range(6):
            frames = np.repeat(np.repeat(noise[None, ..., None], 6, 0), 3, 3)
            for t, frame in enumerate(frames):
                x = 18 + speed * (t - 3) + number
                frame[8 + number : 20 + number, x : x + 10] = 230
            write_video(root / name / f"{number}.mp4", frames, 10, quantizer=10)
    return root


def curve(folder: Path) -> list[float]:
    """The loss of each epoch of a short run on drawn clips."""
    words = ("--data", draw(folder / "clips"), "--model", "teinet_test_resnet", "--model.pretrained", "false")
    words = (*words, "--frames", 4, "--size", 32, "--model.dropout", 0, "--clip.scales", "[1, 0.9]")
    words = (*words, "--epochs", 8, "--batch-size", 5, "--lr", 0.01, "--optim.scale_lr", "false")
    words = (*words, "--optim.schedule", "onecycle", "--optim.head_lr_scale", 1, "--data.val_share", 0.2, "--seed", 3)
    words = (*words, "--clip.hflip", "false")
    words = (*words, "--workers", 0, "--device", "cpu", "--output", folder, "--name", "run")
    assert main(["train", *map(str, words)]) == 0
    return [float(row["loss"]) for row in read_log(folder / "run" / "log.csv")]


def test_the_loss_follows_the_recorded_curve(tmp_path):
    recorded = json.loads(RECORDED.read_text())["loss"]
    # Versions of torch and numbers of threads differ in the fourth digit at first, and drift apart slowly.
    found = curve(tmp_path)
    assert found[:4] == pytest.approx(recorded[:4], rel=0.01)
    assert found == pytest.approx(recorded, rel=0.03)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        RECORDED.write_text(json.dumps({"loss": curve(Path(place))}, indent=1) + "\n")
    sys.stdout.write(RECORDED.read_text())
