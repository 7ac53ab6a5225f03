"""Folders of numbered images as videos, in numeric order; `clip/img_%05d.jpg` selects one of several sequences."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from teinet.errors import VideoError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_NUMBER = re.compile(r"(\d+)(?!.*\d)")  # the last number of a name: img_00001.jpg, 00001.png, flow2_17.jpg
_NUMBER_FIELD = re.compile(r"%(0\d+)?d")


def split(path: str) -> tuple[str, str | None]:
    """Return the folder of the images, and the pattern of their names if `path` ends in one."""
    folder, name = os.path.split(path)
    return (folder or os.curdir, name) if _NUMBER_FIELD.search(name) else (path, None)


def is_folder(path: str) -> bool:
    """Return true if a path is a folder, or a pattern of image names in one."""
    if os.path.isdir(path):
        return True
    folder, pattern = split(path)
    return pattern is not None and os.path.isdir(folder) and not os.path.exists(path)


def image_names(path: str) -> tuple[str, ...]:
    """Return the numbered images' names in numeric order; VideoError where there are none."""
    folder, pattern = split(path)
    if pattern and os.path.isdir(path):  # a folder may have any name
        folder, pattern = path, None
    try:
        names = _numbered(os.path.abspath(folder), pattern, os.stat(folder).st_mtime_ns)
    except FileNotFoundError:
        raise VideoError(path, "no such file or folder") from None
    except OSError as error:
        raise VideoError(path, f"cannot be opened ({error.strerror or error})") from None
    if not names and pattern:
        raise VideoError(path, f"the folder has no images named {pattern}")
    if not names:
        raise VideoError(path, "not a video: the folder has no numbered images (.jpg or .png)")
    return names


@lru_cache(maxsize=1024)
def _numbered(folder: str, pattern: str | None, _mtime_ns: int) -> tuple[str, ...]:
    wanted = _NUMBER_FIELD.sub("\0", re.escape(pattern)).replace("\0", r"(\d+)") if pattern else None
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            number = re.fullmatch(wanted, entry.name) if wanted else _NUMBER.search(stem)
            if suffix.lower() in SUFFIXES and number and not entry.name.startswith("."):
                found.append((int(number[1]), entry.name))
    return tuple(name for _, name in sorted(found))


def read_images(path: str, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Read images as (N, H, W, 3) uint8, resized to `size` (width, height) where they have another one."""
    data = np.empty((len(names), size[1], size[0], 3), np.uint8)
    for out, name in zip(data, names):
        image = read_image(path, name)
        out[...] = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))
    return data


def read_image(path: str, name: str) -> Image.Image:
    """Read one image of the folder or pattern `path`, upright, as RGB."""
    folder = path if os.path.isdir(path) else split(path)[0]
    try:
        with Image.open(os.path.join(folder, name)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "cut off" if "truncated" in str(error) else "cannot be read as an image"
        raise VideoError(path, f"its image {name} is damaged ({reason})") from None
