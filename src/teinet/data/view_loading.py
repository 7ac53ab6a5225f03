"""The pixels of a video's views, from one pass of decoding: the same for tests and recognizers."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

import numpy as np
from PIL import Image

from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.remote import address_of
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.flow import clip_reader
from teinet.data.video.frames import Frames, ImageStack
from teinet.data.video.image_folder import to_rgb
from teinet.data.video.reader import VideoReader
from teinet.data.video.source import refuse_address
from teinet.data.views import Views, check_views
from teinet.errors import ConfigError, check_numbers
from teinet.utils.arrays import to_array
from teinet.utils.text import printable

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("teinet")

# A path or its reader, frames (T, H, W, 3) uint8 RGB, or a list of T images: PIL's, or (H, W, 3) uint8 RGB.
Video = Union[str, PathLike, VideoReader, np.ndarray, "Tensor", Sequence["np.ndarray | Tensor | Image.Image"]]
_ACCEPTED = "a path, frames (T, H, W, 3) uint8 RGB, or a list of (H, W, 3) uint8 RGB arrays or PIL images"
ONE_FRAME = "only one frame, so no motion to see"
_MANY = "pass them to predict_many, which takes a list of videos"


class LoadedViews(NamedTuple):
    """The views of a video."""

    frames: np.ndarray  # (V, T, S, S, C) uint8, V = clips x crops, the crops of a clip adjacent
    indices: np.ndarray  # (clips, T) frame numbers, counted from the start of the file
    times: np.ndarray | None  # (clips, T) seconds from the start of the file; None where frames have no clock
    num_frames: int  # frames in the video, or in the span of it
    damage: str = ""  # of the file, in words; empty if there is none

    def warn_of_one_frame(self, name: str) -> None:
        """Warn of a video, `name`, that has one frame, such as an image."""
        if self.num_frames == 1:
            log.warning("%s: %s", printable(name or "the video"), ONE_FRAME)


def load_views(
    video: Video,
    sampling: Sampling,
    preprocessing: Preprocessing,
    views: Views | str = "1x1",
    start: float | None = None,
    end: float | None = None,
    *,
    threads: int | Literal["auto"] = 1,
    max_damaged: float = MAX_DAMAGED,
) -> LoadedViews:
    """Load the views of a video; each frame of any view is decoded and resized once.

    Args:
        video: a path or a `VideoReader` of one, frames (T, H, W, 3) uint8 RGB, or a list of T images: (H, W, 3) uint8
            RGB, or PIL's. For optical flow the path of a folder, see `FlowReader`.
        start, end: part of the file in seconds; only for paths.
        threads: decoder threads; "auto" suits a single file.
        max_damaged: see `VideoReader`.

    Raises:
        VideoError: the file cannot be read.
        ConfigError: frames of another shape or type, a span of frames in memory or of no numbers, an address, a live
            source, or several crops with fit "squash".
    """
    views = Views.parse(views)
    check_views(views, preprocessing.fit)
    check_numbers(start=start, end=end)
    if isinstance(video, VideoReader) and video.is_live:
        raise ConfigError(f"{video.path}: live video has no end; push its frames to recognizer.detector()")

    def crops_of(images: np.ndarray) -> np.ndarray:  # (n, H, W, 3) -> (n, crops, S, S, 3)
        return test_crops(images, preprocessing, views.num_crops, bool(views.full_resolution)).swapaxes(0, 1)

    damage = ""
    if (path := path_of(video)) is not None:
        if address_of(path) is None:
            refuse_address(path)
        where = np.empty(0, np.int64)

        def choose(n: int) -> np.ndarray:  # called again when decoding finds another number of frames than promised
            nonlocal where
            distinct, where = _distinct(sampling, n, views)
            return distinct

        reader = clip_reader(path, preprocessing.modality, threads=threads, max_damaged=max_damaged)
        frames = reader.sample(choose, start, end, transform=crops_of)
        damage = reader.damage
    else:
        preprocessing.refuse_flow("frames in memory are RGB")
        if start is not None or end is not None:
            raise ConfigError("start and end are seconds of a video file; cut frames in memory by slicing them")
        images = check_frames(video)
        distinct, where = _distinct(sampling, len(images), views)
        _, height, width, _ = images.shape
        stack = ImageStack(len(distinct), height, width, crops_of)
        for index in distinct:
            stack.add(partial(np.copyto, src=images[index]))
        frames = Frames(stack.images, distinct, np.full(len(distinct), np.nan), len(images))
    # (U, crops, S, S, 3) of the U distinct frames -> (clips, crops, T, S, S, 3)
    clips = frames.images[where[:, None], np.arange(views.num_crops)[:, None]]
    times = None if np.isnan(frames.times).all() else frames.times[where]
    return LoadedViews(clips.reshape(-1, *clips.shape[2:]), frames.indices[where], times, frames.num_frames, damage)


def path_of(video: object) -> str | None:
    """Return the path of a video, also of a `VideoReader`; None for frames in memory."""
    if isinstance(video, VideoReader):
        return video.path
    return os.fspath(video) if isinstance(video, (str, PathLike)) else None


def check_frames(video: Video) -> np.ndarray:
    """Return frames in memory as a (T, H, W, 3) uint8 array; ConfigError if they are no video."""
    frames: Any = _stacked(video) if isinstance(video, (list, tuple)) else video
    if not isinstance(frames, np.ndarray) and not hasattr(frames, "detach"):
        raise ConfigError(f"a video is {_ACCEPTED}; got a {type(frames).__name__}")
    shape = tuple(frames.shape)
    if len(shape) == 5:
        raise ConfigError(f"frames of shape {shape} are several videos: {_MANY}")
    if len(shape) != 4 or shape[-1] != 3:
        hint = ""
        if len(shape) == 4 and shape[1] == 3:
            turn = "transpose" if isinstance(frames, np.ndarray) else "permute"
            hint = f"; channels come last: frames.{turn}(0, 2, 3, 1)"
        elif len(shape) == 3 and shape[-1] == 3:
            hint = "; one image is frames[None]"
        raise ConfigError(f"frames have shape {shape}, expected (T, H, W, 3) uint8 RGB{hint}")
    if min(shape) == 0:
        raise ConfigError(f"frames have shape {shape}: there are no pixels in them")
    if str(frames.dtype).removeprefix("torch.") != "uint8":
        raise ConfigError(f"frames have type {frames.dtype}, expected uint8 (0 to 255, RGB)")
    return to_array(frames)


def _stacked(images: Sequence[object]) -> np.ndarray:
    """Return a list of T images as (T, H, W, 3)."""
    arrays = []
    for number, image in enumerate(images):
        if isinstance(image, (str, PathLike)):
            raise ConfigError(f"a list of paths is several videos: {_MANY}")
        if isinstance(image, Image.Image):
            image = to_rgb(image)
        arrays.append(array := to_array(image))
        if array.ndim == 4:
            raise ConfigError(f"a list of arrays {array.shape} is several videos: {_MANY}")
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ConfigError(
                f"image {number} of the list is {array.dtype} of shape {array.shape}, expected uint8 (H, W, 3) in RGB"
            )
        if array.shape != arrays[0].shape:
            raise ConfigError(
                f"image {number} of the list has shape {array.shape}, image 0 {arrays[0].shape}: give them one size"
            )
    if not arrays:
        raise ConfigError("an empty list of images is no video")
    return np.stack(arrays)


def _distinct(sampling: Sampling, n: int, views: Views) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct frame indices of the views, and the positions (clips, T) of each clip's among them."""
    wanted = np.asarray(sampling.test(n, views.num_clips), dtype=np.int64)  # (clips, T)
    distinct, where = np.unique(wanted, return_inverse=True)
    return distinct, where.reshape(wanted.shape)  # numpy 1 and 2 differ in the inverse's shape
