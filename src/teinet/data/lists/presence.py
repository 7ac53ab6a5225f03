"""Which rows of a list point nowhere: asked of each folder once, so that a quarter of a million rows take a second."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

from teinet.data.lists.rows import Row
from teinet.data.video import image_folder


def absent(rows: Sequence[Row]) -> list[int]:
    """The positions of rows whose file or folder does not exist."""
    names = lru_cache(maxsize=None)(_names)  # for this call alone: files come and go
    missing = []
    for position, row in enumerate(rows):
        path = row.path
        if "%" in path and (split := image_folder.split(path))[1]:
            path = split[0]
        folder, _, name = path.rstrip(os.sep).rpartition(os.sep)
        folder = folder or os.sep if path[:1] == os.sep else folder
        if name in ("", ".", ".."):
            found = os.path.exists(path)
        else:
            found = name in names(folder)
        if not found:
            missing.append(position)
    return missing


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder or os.curdir))
    except OSError:
        return frozenset()
