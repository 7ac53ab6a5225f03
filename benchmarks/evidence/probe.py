"""What frozen features tell of fights: python benchmarks/evidence/probe.py DATA/fights/clips.csv WEIGHTS

Logistic regression on the ImageNet features of eight frames of each clip, five folds by source video, nothing tuned:
their mean over frames and places (appearance), and the mean absolute difference of neighboring frames' features
(motion); seen in the image's center, in all of it squashed, and in all of it in its own proportions. A fine-tuned
network should be better than both. Writes results/evidence/fights_probe.json.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import load_views
from teinet.models import create_model
from teinet.utils.machine import machine

RESULT = Path(__file__).parents[1] / "results" / "evidence" / "fights_probe.json"
FRAMES = 8
IMAGES = {
    "center, 160": {"size": 160, "short_side": 182},
    "whole, 160x160": {"size": 160, "short_side": 160, "fit": "squash"},
    "whole, 120x213": {"size": (120, 213), "short_side": 120, "fit": "squash"},
    "whole, 160x284": {"size": (160, 284), "short_side": 160, "fit": "squash"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="with the column fold, which lists.py adds")
    parser.add_argument("weights", help="of EfficientNet-Lite0, timm's tf_efficientnet_lite0.in1k")
    args = parser.parse_args()
    with args.list.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels, folds = np.array([row["label"] for row in rows]), np.array([int(row["fold"]) for row in rows])
    model = create_model(
        "tsn_tf_efficientnet_lite0", num_classes=2, num_frames=FRAMES, backbone_weights=args.weights
    ).eval()
    colors = {key: model.data_config[key] for key in ("mean", "std", "interpolation")}
    maps: list[torch.Tensor] = []
    model.cnn.global_pool.register_forward_pre_hook(lambda _module, inputs: maps.append(inputs[0]))
    found: dict[str, dict[str, list[float]]] = {}
    table = Table(box=SIMPLE_HEAD, title=f"{len(rows)} clips, top-1 of {folds.max()} folds, %", pad_edge=False)
    for head in ("image", "appearance", "motion"):
        table.add_column(head, justify="left" if head == "image" else "right")
    for name, pixels in IMAGES.items():
        preprocessing, features = Preprocessing(**pixels, **colors), {"appearance": [], "motion": []}
        for row in track(rows, description=name, console=Console(stderr=True), transient=True):
            frames = load_views(args.list.parent / row["path"], Sampling(num_frames=FRAMES), preprocessing).frames
            with torch.no_grad():
                model(frames)
            seen = maps.pop()
            features["appearance"].append(seen.mean((0, 2, 3)).numpy())
            features["motion"].append(seen.diff(dim=0).abs().mean((0, 2, 3)).numpy())
        found[name] = {kind: right(np.stack(values), labels, folds) for kind, values in features.items()}
        table.add_row(name, *(f"{100 * np.mean(shares):.1f}" for shares in found[name].values()))
    Console().print(table)
    RESULT.write_text(json.dumps({"machine": machine(), "top1": found}, indent=1) + "\n", encoding="utf-8")


def right(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> list[float]:
    """Top-1 of each fold, of a classifier trained on the others."""
    shares = []
    for fold in sorted(set(folds)):
        train = folds != fold
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        classifier.fit(features[train], labels[train])
        shares.append(round(float(classifier.score(features[~train], labels[~train])), 4))
    return shares


if __name__ == "__main__":
    main()
