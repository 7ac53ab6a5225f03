"""A study that takes seconds: twelve drawn clips of two motions that are each other backwards, a tiny network."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from tests import miniatures

RECIPE = {
    "model": {"num_frames": 4, "pretrained": False, "shortcut_only": False},
    "clip": {"size": 32},
    "optim": {"epochs": 2, "batch_size": 4, "lr": 0.02, "scale_lr": False, "schedule": "onecycle"},
}
STUDY = {
    "title": "Two networks, two people",
    "recipe": "recipe.yaml",
    "data": "clips/clips.csv",
    "networks": {"TSN": {"name": "tsn_test_resnet"}, "TIM": {"name": "tim_test_resnet"}},
    "folds": {
        "ann": {"train": "subject=bob", "val": "subject=ann"},
        "bob": {"train": "subject=ann", "val": "subject=bob"},
    },
    "reference": "TSN",
    "cluster": ["subject", "label"],
    "backwards": True,
    "reversals": [["left", "right"]],
}


def write_study(root: Path) -> Path:
    folder = root / "data" / "clips"
    rows = []
    for kind, label in enumerate(("left", "right")):
        for subject in ("ann", "bob"):
            for take in range(3):
                path = miniatures.write(folder / f"{label}-{subject}-{take}.mp4", kind, length=8)
                rows.append((path.name, label, subject))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "subject"), *rows])
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    path = root / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return path


@pytest.fixture
def study_file(tmp_path):
    return write_study(tmp_path)
