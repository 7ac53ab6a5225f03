"""Draws UTD-MHAD and MSRAction3D as gray videos: python benchmarks/evidence/prepare.py utd_mhad FOLDER_OF_MATS OUTPUT

The makers distribute each clip as a .mat file whose `d_depth` is (240, 320, T) uint16: UTD-MHAD as a1_s1_t1_depth.mat,
MSRAction3D as a01_s01_e01_depth.mat. The person is cut out there, 0 stands for what is behind. Depth becomes gray, near
white and far dark, as the table below says; clips.csv names path, label, subject and repetition. What is there stays.
"""

from __future__ import annotations

import argparse
import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy.io import loadmat

from teinet.data.video.writer import write_video

DARKEST = 40  # what lies as far as `far`; behind it all is black


@dataclass(frozen=True)
class DataSet:
    """How a data set's files are called, what its numbers stand for, and which depths become 255 and 40."""

    pattern: str
    name: str
    frame_rate: int
    near: int
    far: int
    labels: tuple[str, ...]


DATA_SETS = {
    "utd_mhad": DataSet(
        r"a(\d+)_s(\d+)_t(\d+)_depth\.mat",
        "a{}_s{}_t{}.mp4",
        30,
        2000,
        4000,
        (
            *("right arm swipe to the left", "right arm swipe to the right", "right hand wave"),
            *("two hand front clap", "right arm throw", "cross arms in the chest", "basketball shoot"),
            *("right hand draw x", "right hand draw circle clockwise", "right hand draw circle counter clockwise"),
            *("draw triangle", "bowling", "front boxing", "baseball swing from right"),
            *("tennis right hand forehand swing", "arm curl", "tennis serve", "two hand push"),
            *("right hand knock on door", "right hand catch an object", "right hand pick up and throw"),
            *("jogging in place", "walking in place", "sit to stand", "stand to sit", "forward lunge", "squat"),
        ),
    ),
    "msr_action3d": DataSet(
        r"a(\d+)_s(\d+)_e(\d+)_depth\.mat",
        "a{:02d}_s{:02d}_e{:02d}.mp4",
        15,
        370,
        590,
        (
            *("high arm wave", "horizontal arm wave", "hammer", "hand catch", "forward punch", "high throw", "draw x"),
            *("draw tick", "draw circle", "hand clap", "two hand wave", "side boxing", "bend", "forward kick"),
            *("side kick", "jogging", "tennis swing", "tennis serve", "golf swing", "pick up and throw"),
        ),
    ),
}


def to_grey(depth: np.ndarray, near: int, far: int) -> np.ndarray:
    """Depth (240, 320, T) to frames (T, 240, 320, 3) uint8: `near` and less is 255, `far` and more 40, nothing is 0."""
    span = (depth.astype(np.float64) - near) / (far - near)
    gray = np.where(depth > 0, 255 - (255 - DARKEST) * span.clip(0, 1), 0)
    return np.repeat(np.round(gray).astype(np.uint8).transpose(2, 0, 1)[..., None], 3, axis=-1)


def prepare(data_set: DataSet, source: Path, output: Path) -> int:
    """Write clips/*.mp4 and clips.csv; returns how many clips there are."""
    found = [
        (path, match) for path in sorted(source.rglob("*.mat")) if (match := re.fullmatch(data_set.pattern, path.name))
    ]
    (output / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for path, match in track(found, description="drawing"):
        action, subject, repetition = map(int, match.groups())
        target = output / "clips" / data_set.name.format(action, subject, repetition)
        rows.append((f"clips/{target.name}", data_set.labels[action - 1], subject, repetition))
        if not target.exists():
            frames = to_grey(loadmat(path)["d_depth"], data_set.near, data_set.far)
            write_video(target, frames, data_set.frame_rate, quantizer=18)
    with (output / "clips.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label", "subject", "repetition"), *sorted(rows)])
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=DATA_SETS)
    parser.add_argument("source", type=Path, help="the folder with the .mat files")
    parser.add_argument("output", type=Path, help="the folder to write; teinet study wants it below its --data-root")
    args = parser.parse_args()
    count = prepare(DATA_SETS[args.data_set], args.source, args.output)
    if not count:
        raise SystemExit(f"{args.source} has no file named like {DATA_SETS[args.data_set].pattern}")
    print(f"{args.output / 'clips.csv'}: {count} clips")


if __name__ == "__main__":
    main()
