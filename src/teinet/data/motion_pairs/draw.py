"""Writes motion_pairs as folders of .mp4 files: ROOT/<split>/<class name>/<id>.mp4, a list and the settings."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console

from teinet.data.motion_pairs.motions import PAIRS, stage
from teinet.data.motion_pairs.scenes import SPLITS, MotionPairs, Scene, render
from teinet.data.video.writer import write_reversed, write_video
from teinet.errors import ConfigError
from teinet.utils.files import replacing
from teinet.utils.progress import ProgressBars

DRAWING = 1  # raised whenever the same settings would draw other pictures
SETTINGS_FILE, LIST_FILE = "motion_pairs.json", "clips.csv"

Job = tuple[str, int, int]  # split, pair, index


class Footage(Protocol):
    """Changes scenes before they are rendered; `facts` say what it is, and are kept with the settings."""

    def facts(self) -> dict[str, object]: ...

    def put_behind(self, scene: Scene, split: str, settings: MotionPairs, rng: np.random.Generator) -> None: ...


def draw(
    root: str | os.PathLike,
    settings: MotionPairs | None = None,
    *,
    footage: Footage | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the data set into the folder `root` and return it; what is there already with these settings is kept.

    Args:
        root: a new or empty folder, or one that an earlier call began to fill.
        settings: what to draw; None takes the defaults of MotionPairs.
        footage: what is put in place of drawn backgrounds and textures.
        workers: threads that draw (numpy and the encoder let go of the interpreter), at least 1; None takes one a
            core. The files do not depend on it.
        progress: called with (clips drawn, clips in all) after each drawing; a clip is a file.

    Raises:
        ConfigError: `root` holds anything else, or the data set with other settings.
    """
    root, settings = Path(root), settings or MotionPairs()
    _claim(root, settings, footage)
    jobs: list[Job] = [
        (split, p, i) for split in SPLITS for p in range(len(PAIRS)) for i in range(settings.clips(split))
    ]
    missing = [job for job in jobs if not all(path.exists() for path in _paths(root, job))]
    total = 2 * len(jobs)
    done = total - 2 * len(missing)
    for split in {job[0] for job in missing}:
        for pair in PAIRS:
            for name in pair:
                (root / split / name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
        tasks = [pool.submit(_draw_both, root, settings, footage, job) for job in missing]
        try:
            for task in as_completed(tasks):
                task.result()
                done += 2
                if progress:
                    progress(done, total)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if missing or not (root / LIST_FILE).exists():
        _write_list(root, jobs)
    return root


def draw_with_progress(folder: Path, settings: MotionPairs, console: Console) -> Path:
    """Draw motion_pairs and show how far it is, on a terminal; see `draw`."""
    with ProgressBars(console) as bars:
        task = bars.task("drawing motion_pairs", unit="clips")
        return draw(folder, settings, progress=lambda done, total: task.update(done, total=total))


def _paths(root: Path, job: Job) -> tuple[Path, Path]:
    split, pair, index = job
    forward, backward = (root / split / name / f"{pair:02d}-{index:04d}.mp4" for name in PAIRS[pair])
    return forward, backward


def _draw_both(root: Path, settings: MotionPairs, footage: Footage | None, job: Job) -> None:
    split, pair, index = job
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), pair, index])
    forward, backward = _paths(root, job)
    scene = stage(pair, settings, rng)
    if footage is not None:
        footage.put_behind(scene, split, settings, rng)
    write_video(forward, render(scene, settings, rng), settings.frame_rate)
    write_reversed(forward, backward)


def _claim(root: Path, settings: MotionPairs, footage: Footage | None) -> None:
    """Make sure that `root` is ours with these settings, or new; leaves the settings there before any clip is drawn."""
    wanted = {"data_set": "motion_pairs", "drawing": DRAWING, "seed": settings.seed, "settings": asdict(settings)}
    if footage is not None:
        wanted["footage"] = footage.facts()
    file = root / SETTINGS_FILE
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root}: is a file; motion_pairs needs a folder to draw into")
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            raise ConfigError(f"{root}: {_difference(found, wanted)}; choose another folder or remove this one")
    elif root.exists() and any(root.iterdir()):
        raise ConfigError(f"{root}: holds other files; motion_pairs is drawn into a new or an empty folder")
    else:
        root.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            part.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _difference(found: object, wanted: dict) -> str:
    if not isinstance(found, dict) or found.get("data_set") != "motion_pairs":
        return f"its {SETTINGS_FILE} is not one of ours"
    if found.get("drawing") != wanted["drawing"]:
        return f"holds motion_pairs as another version drew it ({found.get('drawing')}, not {wanted['drawing']})"
    old = found.get("settings", {})
    new = wanted["settings"]
    differ = [f"{key} {old.get(key)}, not {value}" for key, value in new.items() if old.get(key) != value]
    if found.get("footage") != wanted.get("footage"):
        differ.append("on other footage")
    return "holds motion_pairs with other settings (" + "; ".join(differ) + ")"


def _write_list(root: Path, jobs: list[Job]) -> None:
    with replacing(root / LIST_FILE) as part, part.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["path", "label", "split", "source"])
        for job in jobs:
            split, pair, index = job
            for path, label in zip(_paths(root, job), PAIRS[pair]):
                source = f"{split}-{pair:02d}-{index:04d}"  # of the drawn clip, which two files share
                rows.writerow([path.relative_to(root).as_posix(), label, split, source])
