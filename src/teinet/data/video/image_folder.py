"""Folders of numbered images as videos, in the order that their names show; `clip/img_%05d.jpg` selects a series."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import Literal, NamedTuple

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from teinet.data.video.image_order import UnclearOrder, in_order, in_order_of, is_pattern, pattern_regex
from teinet.data.video.pixels import Converter
from teinet.errors import VideoError

Mode = Literal["RGB", "L"]
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Large photographs are no bombs: images of more than twice the pixels that Pillow warns of are refused.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageOrder(NamedTuple):
    """The images of a folder in order, what orders them, and without a pattern the other names in the folder."""

    names: tuple[str, ...]
    rule: str
    others: tuple[str, ...]


def split(path: str) -> tuple[str, str | None]:
    """Return the folder of the images, and the pattern of their names if `path` ends in one."""
    folder, name = os.path.split(path)
    return (folder or os.curdir, name) if is_pattern(name) else (path, None)


def is_folder(path: str) -> bool:
    """Return true if a path is a folder, or a pattern of image names in one."""
    if os.path.isdir(path):
        return True
    folder, pattern = split(path)
    return pattern is not None and os.path.isdir(folder) and not os.path.exists(path)


def has_images(path: str) -> bool:
    """Return true if a folder has numbered images, or images of a pattern, whether or not their order is clear."""
    try:
        return bool(_listed(path)[1])
    except VideoError:
        return False


def image_order(path: str) -> ImageOrder:
    """Return the numbered images of a folder in order, or those of a pattern in the order of its numbers.

    Raises:
        VideoError: there are none, or the order is unclear; names two that contradict each other.
    """
    pattern, names, others = _listed(path)
    if not names and pattern:
        raise VideoError(path, f"the folder has no images named {pattern}")
    if not names:
        raise VideoError(path, "not a video: the folder has no numbered images (.jpg or .png)")
    try:
        if pattern:
            return ImageOrder(in_order_of(pattern, names), f"pattern {pattern}", ())
        return ImageOrder(*in_order(names), others)
    except UnclearOrder as error:
        example = os.path.join(split(path)[0], error.pattern)
        advice = f"name one series with data.image_names, such as {error.pattern}, or give {example}"
        raise VideoError(path, f"the order of its images is unclear: {error}; {advice}") from None


def image_names(path: str) -> tuple[str, ...]:
    """Return the names of `image_order`."""
    return image_order(path).names


def _listed(path: str) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Return the pattern if `path` ends in one, the images' names and the others; VideoError if it is missing."""
    folder, pattern = split(path)
    if pattern and os.path.isdir(path):  # a folder may have any name
        folder, pattern = path, None
    try:
        return pattern, *_scan(os.path.abspath(folder), pattern, os.stat(folder).st_mtime_ns)
    except FileNotFoundError:
        raise VideoError(path, "no such file or folder") from None
    except OSError as error:
        raise VideoError(path, f"cannot be opened ({error.strerror or error})") from None


@lru_cache(maxsize=1024)
def _scan(folder: str, pattern: str | None, _mtime_ns: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    regex = pattern_regex(pattern) if pattern else None
    names, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            wanted = regex.fullmatch(entry.name) if regex else any(map(str.isdecimal, stem))
            if entry.name.startswith("."):
                continue
            is_image = wanted and suffix.lower() in SUFFIXES and (entry.is_symlink() or not entry.is_dir())
            (names if is_image else others).append(entry.name)
    return tuple(sorted(names)), tuple(sorted(others))


def load_image(
    path: str, name: str, size: tuple[int, int], out: np.ndarray | None = None, *, mode: Mode = "RGB"
) -> np.ndarray:
    """Return one image as (H, W, 3) uint8, in `out` if given, resized to `size` (width, height) if it has another.

    Of mode "L", gray levels, it is (H, W).
    """
    image = read_image(path, name, mode)
    pixels = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))
    if out is None:
        return np.array(pixels)  # may be written to
    out[...] = pixels
    return out


def read_image(path: str, name: str, mode: Mode = "RGB") -> Image.Image:
    """Read one image of the folder or pattern `path`, upright, as RGB or gray levels (L)."""
    file = os.path.join(path if os.path.isdir(path) else split(path)[0], name)
    if os.path.exists(file) and not os.path.isfile(file):  # a pipe, which may never end
        raise VideoError(path, f"its image {name} is not a regular file")
    try:
        with Image.open(file) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            return image if image.mode == mode else to_rgb(image).convert(mode)  # which would copy it
    except Image.DecompressionBombError:
        raise VideoError(path, f"its image {name} is too large to read: more than 178 million pixels") from None
    except FileNotFoundError:
        raise VideoError(path, f"its image {name} is missing: no such file, or a link to none") from None
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        reason = "cut off" if "truncated" in str(error) else "cannot be read as an image"
        raise VideoError(path, f"its image {name} is damaged ({reason})") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB; gray levels of 16 bits as FFmpeg converts them, where Pillow would clip them at 255."""
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    gray = np.asarray(image).clip(0, 65535).astype(np.uint16)
    rgb = np.empty((*gray.shape, 3), np.uint8)
    return Image.fromarray(Converter(*gray.shape)(av.VideoFrame.from_ndarray(gray, format="gray16le"), rgb))
