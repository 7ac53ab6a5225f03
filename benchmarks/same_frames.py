"""Whether the frames of damaged videos are those that FFmpeg decodes, one packet after the other."""

from __future__ import annotations

import os
import random
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError

_MOST_NOISE = 4.0  # gray levels: what FFmpeg's filter makes of deep and interlaced frames, against its converter


def compare(paths: list[str], seed: int, out: Path) -> int:
    """Print each video of which frames differ from FFmpeg's and no damage is said, and the number of those compared."""
    found = [(path, difference(path, random.Random(f"{seed} {path}"))) for path in paths if os.path.isfile(path)]
    print("".join(f"FramesError: {path}: {trouble}\n" for path, trouble in found if trouble))
    print("compared", sum(trouble is not None for _, trouble in found))
    return int(any(trouble for _, trouble in found))


def difference(path: str, rng: random.Random) -> str | None:
    """Return how frames differ, empty if they do not; None for a video that is refused or said to be damaged."""
    some, whole = VideoReader(path, threads=1), VideoReader(path, threads=1)
    try:
        count = len(some)
        if some.damage or count > 300:
            return None
        chosen = sorted({rng.randrange(count) for _ in range(3)})
        frames = some.sample(lambda n: [min(i, n - 1) for i in chosen])
        if some.damage:
            return None
        truth = _truth(path)
        for image, i, second in zip(frames.images, frames.indices, frames.times):
            near = [(t, noise) for k, (at, t, noise) in enumerate(truth) if k == i or abs(at - second) < 1e-3]
            if not any(_alike(image, *each) for each in near):
                return f"frame {i} of {count} differs"
        whole.verify()
        return "" if whole.damage or len(whole) == len(truth) else f"{len(whole)} frames, FFmpeg decodes {len(truth)}"
    except VideoError:
        return None


def _truth(path: str) -> list[tuple[float, np.ndarray, float]]:
    """Return seconds, image and the noise of its conversion for each frame that FFmpeg decodes, packet after packet."""
    found = []
    with av.open(f"file:{path}", metadata_errors="ignore") as file:
        stream = file.streams.best("video") or file.streams.video[0]
        stream.thread_type, begin = "NONE", (file.start_time or 0) / av.time_base
        for packet in file.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                second = -1.0 if frame.pts is None else float(frame.pts * stream.time_base) - begin
                filtered = frame.interlaced_frame or max(part.bits for part in frame.format.components) > 8
                image = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
                found.append((second, image, _MOST_NOISE if filtered else 0.0))
    return found


def _alike(image: np.ndarray, truth: np.ndarray, noise: float) -> bool:
    """Return true if two images are the same but for a turn or a flip; or have other sizes, as one was scaled."""
    turned = [np.rot90(flipped, k) for flipped in (truth, truth[:, ::-1]) for k in range(4)]
    turned = [each for each in turned if each.shape == image.shape]
    return not turned or min(np.abs(each.astype(int) - image).mean() for each in turned) <= noise
