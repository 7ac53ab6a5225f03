"""Optical flow as TSN's tools write it: folders with a pair of gray images, x and y, for each step between frames."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Literal

import numpy as np

from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.video import image_folder
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import VideoError

Modality = Literal["rgb", "flow"]

PAIRS = 5  # in one frame of a flow network
CHANNELS = 2 * PAIRS
FLOW_INPUT = "a flow network reads folders with pairs of images such as flow_x_00001.jpg and flow_y_00001.jpg"

_AXIS = re.compile(r"[xy](?=_\d+\.\w+$)")  # of flow_x_00001.jpg, x_00001.jpg and 000012-x_00001.jpg


class FlowReader(VideoReader):
    """The optical flow of a clip. Its frame i is the five consecutive pairs from the i-th on: x1, y1, ..., x5, y5.

    A clip of N pairs has N - 4 frames (H, W, 10) uint8, in which 128 is no motion. One of fewer than five pairs has one
    frame, which repeats the last pair. Source: dataset.py of TSN and TSM, `new_length` 5.

    Args:
        path: the folder; a pattern of its RGB images (`folder/img_%05d.jpg`) may follow.

    Raises:
        VideoError: it is no folder with such images, or an x has no y.
    """

    channels = CHANNELS

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        if not self.is_image_folder:
            raise VideoError(self.path, f"no folder; {FLOW_INPUT}")
        if not os.path.isdir(self.path):
            self.path = image_folder.split(self.path)[0]
        self._pairs = _pairs(self.path)
        self._names = [x for x, _ in self._pairs[: max(1, len(self._pairs) - PAIRS + 1)]]
        self._field = lru_cache(PAIRS)(self._load_pair)  # neighboring frames share four of five

    def _image(self, number: int, out: np.ndarray | None = None) -> np.ndarray:
        last = len(self._pairs) - 1
        return np.concatenate([self._field(min(number + k, last)) for k in range(PAIRS)], axis=-1, out=out)

    def _load_pair(self, number: int) -> np.ndarray:
        """Return x and y, (H, W, 2) uint8."""
        images = [image_folder.load_image(self.path, name, self.size, mode="L") for name in self._pairs[number]]
        return np.stack(images, axis=-1)


def clip_reader(
    path: str, modality: Modality, *, threads: int | Literal["auto"] = 1, max_damaged: float = MAX_DAMAGED
) -> VideoReader:
    """Return the reader of a clip's RGB frames or of its flow; raises as they do."""
    if modality == "flow":
        return FlowReader(path)
    return VideoReader(file_of_list(path), threads=threads, max_damaged=max_damaged)


def _pairs(folder: str) -> list[tuple[str, str]]:
    """Return the names of x and y, in the order of their numbers."""
    series = [os.path.join(folder, f"*{axis}_%d.*") for axis in "xy"]
    if not any(map(image_folder.has_images, series)):
        raise VideoError(folder, f"it has no flow images; {FLOW_INPUT}")
    names = [image_folder.image_names(each) if image_folder.has_images(each) else () for each in series]
    known = {*names[0], *names[1]}
    if alone := [name for each in names for name in each if _other(name) not in known]:
        raise VideoError(folder, f"its image {_other(alone[0])} is missing, the pair of {alone[0]}")
    return [(x, _other(x)) for x in names[0]]


def _other(name: str) -> str:
    """Return the name of the y that belongs to an x, and the reverse."""
    return _AXIS.sub(lambda axis: "y" if axis[0] == "x" else "x", name)
