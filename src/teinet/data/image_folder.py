"""A folder of numbered JPEG or PNG pictures is a video too: its files in numeric order."""

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


def pictures(folder: str) -> tuple[str, ...]:
    """Return the numbered pictures' names in numeric order; VideoError where there are none."""
    try:
        names = _numbered(os.path.abspath(folder), os.stat(folder).st_mtime_ns)
    except FileNotFoundError:
        raise VideoError(folder, "no such file or folder") from None
    except OSError as error:
        raise VideoError(folder, f"cannot be opened ({error.strerror or error})") from None
    if not names:
        raise VideoError(folder, "the folder holds no numbered pictures (.jpg or .png) and so is no video")
    return names


@lru_cache(maxsize=1024)
def _numbered(folder: str, _mtime_ns: int) -> tuple[str, ...]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            number = _NUMBER.search(stem)
            if suffix.lower() in SUFFIXES and number and not entry.name.startswith("."):
                found.append((int(number[1]), entry.name))
    return tuple(name for _, name in sorted(found))


def read_pictures(folder: str, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Read pictures as (N, H, W, 3) uint8; those of another size are resized to `size`, (width, height)."""
    data = np.empty((len(names), size[1], size[0], 3), np.uint8)
    for out, name in zip(data, names):
        picture = read_picture(folder, name)
        out[...] = picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)
    return data


def read_picture(folder: str, name: str) -> Image.Image:
    """Read one picture upright, as RGB."""
    try:
        with Image.open(os.path.join(folder, name)) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "cut off" if "truncated" in str(error) else "cannot be read as a picture"
        raise VideoError(folder, f"its picture {name} is damaged ({reason})") from None
