"""How far apart in time the frames lie that a network is trained on: what live video must keep."""

from __future__ import annotations

from statistics import median

import numpy as np

from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError

_ASKED = 32  # clips, evenly spread: a median of them is near enough


def typical_spacing(clips: ClipList, sampling: Sampling) -> float | None:
    """The median time between two neighbouring frames of a training clip, seconds; None for pictures without a clock.

    Clips that cannot be read are passed over.
    """
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(_ASKED, len(clips))).astype(int)) if len(clips) else []
    found = []
    for row in map(int, chosen):
        path, (start, end) = clips.paths[row], clips.span(row)
        try:
            reader = VideoReader(path)
            if reader.duration is None:
                continue
            frames = len(reader.frames_shown(start, end))
        except VideoError:
            continue
        if sampling.strategy == "dense":
            frames = min(frames, sampling.window)
        found.append(frames * reader.duration / len(reader) / sampling.num_frames)
    return round(median(found), 4) if found else None
