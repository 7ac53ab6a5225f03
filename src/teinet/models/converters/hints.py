"""What a checkpoint's file name says of its training: good for a message, not to be trusted in silence."""

from __future__ import annotations

import re
from pathlib import Path

_FRAMES = re.compile(r"segment(\d+)|(?<!\d)1x1x(\d+)(?!\d)")  # TSM's repository; MMAction2: length x interval x clips
_DIV = re.compile(r"shift(\d+)")
_DENSE = re.compile(r"(?<![a-z])dense(?![a-z])")


def frames_in_name(path: str | Path) -> int | None:
    """T as the file's name gives it, or None."""
    found = _FRAMES.search(Path(path).name)
    return int(found[1] or found[2]) if found else None


def contradictions(path: str | Path, *, num_frames: int, n_div: int, strategy: str) -> list[str]:
    """What the file's name says otherwise than the settings of a TSM, a sentence each.

    Args:
        path: of the foreign checkpoint.
        num_frames, n_div, strategy: the settings of the conversion.
    """
    name = Path(path).name
    notes = []
    frames, div = frames_in_name(path), _DIV.search(name)
    if frames not in (None, num_frames):
        notes.append(f"the file's name says {frames} frames, the conversion {num_frames}")
    if div and int(div[1]) != n_div:
        notes.append(f"the file's name says shift{div[1]}, the conversion --n-div {n_div}")
    if _DENSE.search(name) and strategy != "dense":
        notes.append(f"the file's name says dense, the conversion --strategy {strategy}")
    return notes
