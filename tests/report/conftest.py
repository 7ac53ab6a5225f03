"""Folders as `teinet train` and `teinet test` leave them, written by hand: small, at once, with figures to choose."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from teinet.evaluation.scores import Scores
from teinet.training.recipe import Recipe
from teinet.training.recipe_files import compose

NAMES = ["Pushing [something]", "Pulling [something]", "Nothing", "Folding", "Tearing"]


def recipe(row: str | None = "something_v1/teinet_8f", **changes: Any) -> dict[str, Any]:
    """A whole recipe as a run writes it; `changes` are settings by name, with two underscores for the dot."""
    settings = json.loads(json.dumps(asdict(Recipe())))
    for section, values in (compose(row) if row else {}).items():
        settings[section] = {**settings[section], **values} if isinstance(values, dict) else values
    for name, value in changes.items():
        section, setting = name.split("__")
        settings[section][setting] = value
    return settings


def fingerprint(what: object, clips: int = 100) -> dict[str, Any]:
    return {"clips": clips, "classes": 5, "sha256": hashlib.sha256(str(what).encode()).hexdigest()}


def facts(**changes: Any) -> dict[str, Any]:
    values = {
        "command": ["teinet", "train", "something_v1/teinet_8f", "--data", "my clips/"],
        "started": "2026-11-25T01:28:27+00:00",
        "seed": 0,
        "learning_rate": 0.01,
        "precision": "fp32",
        "data": {"train": fingerprint("train", 400), "val": fingerprint("val")},
        "format": "something_v1",
        "missing": 0,
        "notes": [],
        "decoder": {"PyAV": "17.0", "libavcodec": "62.28.102"},
        "versions": {"teinet": "0.1.0", "torch": "2.11.0", "timm": "1.0.20"},
        "finished": "2026-11-25T03:30:38+00:00",
        "unreadable": 0,
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def write_log(folder: Path, epochs: int, *, best: float = 0.5, every: int = 1) -> None:
    lines = ["epoch,step,lr,loss,top1,val_top1,val_loss,seconds,data_share"]
    for epoch in range(1, epochs + 1):
        top1 = best * epoch / epochs
        seen = epoch - epoch % every
        val = f"{0.9 * best * seen / epochs:.5f},{3 - seen / epochs:.5f}" if seen else ","
        rate = 0.01 if epoch < 8 else 0.001
        lines.append(f"{epoch},{10 * epoch},{rate},{3 - 2 * top1:.5f},{top1:.5f},{val},60.00,0.1")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")


def meta(row: str | None = "something_v1/teinet_8f", views: str = "1x1", **changes: Any) -> dict[str, Any]:
    """What a test notes next to its scores."""
    told = {"row": row, "published": compose(row)["published"] if row else []}
    values = {
        "views": views,
        "averaging": "probabilities",
        "data": fingerprint("val"),
        "split": "val",
        "weights": "runs/somewhere/last.safetensors",
        "network": "teinet_resnet50.tv_in1k",
        "parameters": 30356896,
        "gmacs": 32.88,
        "missing": 0,
        "recipe": told,
    }
    return values | changes


def write_metrics(folder: Path, top1: float, top5: float | None = None, *, clips: int = 100, **about: Any) -> Path:
    """A test of which only the numbers are left."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"top1": top1, "top5": top5, "mean_class_accuracy": top1, "top5_k": 5, "num_clips": clips}
    values = {**numbers, "num_labeled": clips, "num_unreadable": 0, "num_classes": 5, **about}
    (folder / "metrics.json").write_text(json.dumps(values))
    return folder


def write_scores(folder: Path, right: dict[str, float], *, clips: int = 20, image: bool = False, **about: Any) -> Path:
    """A whole test: of each class this share of its clips is recognized, the others are taken for the next class."""
    names = list(right)
    labels = np.repeat(np.arange(len(names)), clips)
    hit = np.concatenate([np.arange(clips) < round(clips * share) for share in right.values()])
    said = np.where(hit, labels, (labels + 1) % len(names))
    scores = Scores(
        paths=[f"{i}.mp4" for i in range(len(labels))],
        labels=labels,
        probabilities=np.eye(len(names))[said],
        class_names=names,
        meta=about,
    )
    return scores.save(folder, image=image)


def write_run(
    folder: Path, settings: dict[str, Any] | None = None, *, epochs: int = 10, tests: Any = None, **about: Any
) -> Path:
    """A trained run; `tests` gives top-1 and top-5 by views."""
    folder.mkdir(parents=True)
    settings = settings or recipe()
    settings["run"]["name"] = folder.name
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "run.json").write_text(json.dumps(facts(**{"seed": settings["run"]["seed"], **about})))
    write_log(folder, epochs)
    (folder / "last.safetensors").write_bytes(os.fsencode(folder.name))
    for views, (top1, top5) in (tests or {}).items():
        weights = hashlib.sha256(os.fsencode(folder.name)).hexdigest()
        write_metrics(folder / f"test-{views}", top1, top5, **meta(settings["row"], views, weights_sha256=weights))
    return folder


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"
