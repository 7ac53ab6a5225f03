"""Clips for the export: those that a file is compared on, and those that int8 is calibrated with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.rows import ClipList
from teinet.data.lists.splits import load_splits
from teinet.data.motion_pairs.draw import LIST_FILE, draw
from teinet.data.motion_pairs.motions import PAIRS
from teinet.data.motion_pairs.scenes import MotionPairs
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.data.view_loading import load_views
from teinet.errors import ConfigError, TeinetError, VideoError

COMPARED, _WHOLE = 24, 8  # clips that a file is compared on, and those of whole frames
_EACH, _LEAST, _MOST = 2, 48, 200  # clips of a class for int8, and of all classes together, of which each has one


class ExportClips(NamedTuple):
    """Clips to compare on, as views of the network's size, and other ones to calibrate int8 with.

    The first of `views` also come as `frames` of the video's size; `source` names the clips in words.
    """

    views: list[np.ndarray]  # (T, S, S, C) uint8
    calibration: list[np.ndarray]  # (T, S, S, C) uint8; the views again where there are no other clips
    frames: list[np.ndarray]  # (T, H, W, C) uint8 of the first ones
    source: str


def load_clips(header: Mapping[str, Any], data: DataConfig | None, *, calibrate: bool) -> ExportClips:
    """Load training clips, of all classes in turn: of `data`, else of the run's own list, else drawn ones.

    Args:
        header: see `read_header`.
        calibrate: also take clips for int8: 2 of each class, 48 at least; of more than 100 classes 200, or one of each.

    Raises:
        ConfigError: no clip can be read; or `calibrate`, and neither `data` nor the run's own list is there.
        TeinetError: the list `data` cannot be used.
    """
    names = list(header["class_names"])
    calibrating = max(_LEAST, min(_MOST, _EACH * len(names)), len(names)) if calibrate else 0
    wanted = COMPARED + calibrating
    splits, source = None if data is None else load_splits(replace(data, val_share=0.0), names), str(data and data.path)
    stored = (header.get("recipe") or {}).get("data") or {}
    if splits is None and stored.get("path"):
        with suppress(TeinetError, TypeError, OSError):  # the list may have moved
            splits, source = load_splits(DataConfig(**stored), names), str(stored["path"])
    drawn = sorted(name for pair in PAIRS for name in pair)
    if splits is None and calibrate and names != drawn:
        said = "int8 is calibrated with training clips, and the run's own are not there; export it with a list of them"
        raise ConfigError(f"{said}: teinet export --precision int8 --data LIST")
    with TemporaryDirectory() as folder:
        if splits is None:
            draw(folder, MotionPairs(train=-(-wanted // len(drawn)), val=0, test=0, seed=1))
            splits = load_splits(DataConfig(path=f"{folder}/{LIST_FILE}", val_share=0.0))
            source = "drawn clips of motion_pairs"
        clips = splits.get("train") or next(iter(splits.values()))
        views, frames = _read(clips, wanted, header, source)
        apart = len(views) >= 2 * COMPARED
        return ExportClips(views[:COMPARED], views[COMPARED:] if apart else views, frames, source)


def _read(
    clips: ClipList, wanted: int, header: Mapping[str, Any], source: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the views of clips of all classes in turn, and the whole frames of the first ones."""
    preprocessing, sampling = Preprocessing.from_dict(header["preprocessing"]), Sampling(**header["sampling"])
    order = np.random.default_rng(0).permutation(len(clips))
    counts: Counter[int] = Counter()
    rank = np.empty(len(clips), np.int64)  # how many clips of its class come before a clip
    for index in order.tolist():
        label = int(clips.labels[index])
        rank[index] = counts[label]
        counts[label] += 1
    views: list[np.ndarray] = []
    frames: list[np.ndarray] = []
    problem = ""
    for index in order[np.argsort(rank[order], kind="stable")].tolist():
        if len(views) == wanted:
            break
        try:
            path = str(clips.paths[index])
            loaded = load_views(path, sampling, preprocessing, "1x1", *clips.span(index))
            if len(frames) < _WHOLE and preprocessing.modality == "rgb":
                frames.append(VideoReader(file_of_list(path)).frames_at(loaded.indices[0]).images)
        except VideoError as error:
            problem = str(error)
            continue
        views.append(loaded.frames[0])
    if not views:
        raise ConfigError(f"{source}: no clip can be read, to compare the exported file on ({problem})")
    return views, frames
