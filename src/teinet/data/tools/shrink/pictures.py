"""A folder of pictures made smaller: JPEGs of the same names, all of one size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from PIL import Image

from teinet.data.tools.shrink.settings import Shrinking
from teinet.data.video import image_folder
from teinet.errors import VideoError
from teinet.utils.files import replacing
from teinet.utils.worker_pool import Beat

_QUALITY = 90
_JPEG = (".jpg", ".jpeg")


def shrink_pictures(source: str, target: Path, settings: Shrinking, beat: Beat) -> tuple[int, bool]:
    """Write small copies of the pictures that `source` means, each whole or not at all.

    Pictures that are small enough are copied as they are. All take the size of the first one, as reading would give it.

    Args:
        source: a folder of pictures, or a pattern of their names; not changed.
        target: the folder to write to; made where it is not there.
        settings: their size.
        beat: called after every picture.

    Returns:
        Bytes written, and whether they are JPEGs by the name of `jpeg_name`, or copies by their own.

    Raises:
        VideoError: a picture cannot be read, or two of them would get one name.
        OSError: the target cannot be written.
    """
    names = image_folder.image_names(source)
    folder = source if os.path.isdir(source) else image_folder.split(source)[0]
    whole = image_folder.read_image(source, names[0]).size
    size = settings.size(*whole)
    target.mkdir(parents=True, exist_ok=True)
    if size != whole and len({jpeg_name(name) for name in names}) < len(names):
        raise VideoError(source, "holds pictures that differ in their suffix alone, which as JPEGs would be one file")
    written = 0
    for name in names:
        path = target / (name if size == whole else jpeg_name(name))
        picture = image_folder.read_image(source, name)  # also of those that are copied: a broken one is found here
        with replacing(path) as part:
            if size == whole:
                shutil.copyfile(os.path.join(folder, name), part)
            else:
                picture.resize(size, Image.Resampling.BICUBIC).save(part, "JPEG", quality=_QUALITY)
        written += path.stat().st_size
        beat()
    return written, size != whole


def jpeg_name(name: str) -> str:
    """The name of a picture, or a pattern of names, as a JPEG."""
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in _JPEG else f"{stem}.jpg"
