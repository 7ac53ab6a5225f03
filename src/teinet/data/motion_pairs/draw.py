"""motion_pairs on disk: ROOT/<split>/<class name>/<id>.mp4, a list of clips and the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from teinet.data.lists.rows import Row
from teinet.data.lists.write_list import write_rows
from teinet.data.motion_pairs.motions import PAIRS, draw_clip
from teinet.data.motion_pairs.scenes import SPLITS, MotionPairs
from teinet.data.video.writer import write_reversed, write_video
from teinet.errors import ConfigError
from teinet.utils.files import write_text
from teinet.utils.progress import ProgressBars

DRAWING = 1  # increased whenever the same settings give other frames
SETTINGS_FILE, LIST_FILE = "motion_pairs.json", "clips.csv"


class Drawing(NamedTuple):
    """One drawn clip: number `index` of a pair of classes in a split."""

    split: str
    pair: int
    index: int

    def generator(self, settings: MotionPairs) -> np.random.Generator:
        """Return the random generator of the clip."""
        return np.random.default_rng([settings.seed, SPLITS.index(self.split), self.pair, self.index])

    def paths(self, root: Path) -> tuple[Path, Path]:
        """Return its two files, forwards and backwards."""
        folders = (root / self.split / name for name in PAIRS[self.pair])
        forward, backward = (folder / f"{self.pair:02d}-{self.index:04d}.mp4" for folder in folders)
        return forward, backward

    def write(self, root: Path, frames: np.ndarray, frame_rate: int) -> None:
        """Write frames (T, H, W, 3) uint8 to its two files."""
        forward, backward = self.paths(root)
        for path in (forward, backward):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_reversed(write_video(forward, frames, frame_rate), backward)


def drawings(settings: MotionPairs) -> list[Drawing]:
    """Return all clips of a data set, in the order of its list."""
    return [Drawing(s, p, i) for s in SPLITS for p in range(len(PAIRS)) for i in range(settings.clips(s))]


def write_list(root: Path, settings: MotionPairs) -> None:
    """Write the list of the files below `root`; its column `source` is the drawn clip, which two files share."""
    rows = [
        Row(str(path), label, drawing.split, columns={"source": "{}-{:02d}-{:04d}".format(*drawing)})
        for drawing in drawings(settings)
        for path, label in zip(drawing.paths(root), PAIRS[drawing.pair])
    ]
    write_rows(root / LIST_FILE, rows)


def draw(
    root: str | os.PathLike,
    settings: MotionPairs | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the data set into the folder `root` and return it; existing clips with the same settings are kept.

    Args:
        root: a new or empty folder, or one that an earlier call began to fill.
        workers: number of threads, at least 1; None takes one per core. The files do not depend on it.
        progress: called with (clips drawn, clips in total) after each drawing; a clip is a file.

    Raises:
        ConfigError: `root` has other files, or the data set with other settings.
    """
    root, settings = Path(root), settings or MotionPairs()
    _claim(root, settings)
    missing = [d for d in drawings(settings) if not all(path.exists() for path in d.paths(root))]
    total = 2 * len(drawings(settings))
    done = total - 2 * len(missing)

    def write(drawing: Drawing) -> None:
        drawing.write(root, draw_clip(drawing.pair, settings, drawing.generator(settings)), settings.frame_rate)

    with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
        tasks = [pool.submit(write, drawing) for drawing in missing]
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
        write_list(root, settings)
    return root


def draw_with_progress(folder: Path, settings: MotionPairs, console: Console) -> Path:
    """Draw motion_pairs with a progress bar; see `draw`."""
    with ProgressBars(console) as bars:
        task = bars.task("drawing motion_pairs", unit="clips")
        return draw(folder, settings, progress=lambda done, total: task.update(done, total=total))


def _claim(root: Path, settings: MotionPairs) -> None:
    """Write the settings to `root`, or check that it has the same; ConfigError if it has others, or other files."""
    wanted = {"data_set": "motion_pairs", "drawing": DRAWING, "seed": settings.seed, "settings": asdict(settings)}
    file = root / SETTINGS_FILE
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; choose a folder for motion_pairs")
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            old = found.get("settings", {}) if isinstance(found, dict) else {}
            differ = [
                f"{key} {old.get(key)}, not {value}" for key, value in asdict(settings).items() if old.get(key) != value
            ]
            what = f"with other settings ({'; '.join(differ)})" if old and differ else "of another version"
            raise ConfigError(f"{root}: has motion_pairs {what}; choose another folder or remove this one")
    elif root.exists() and any(root.iterdir()):
        raise ConfigError(f"{root}: has other files; choose a new or empty folder for motion_pairs")
    else:
        root.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(wanted, indent=2) + "\n")
