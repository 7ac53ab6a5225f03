"""Draws motion_pairs on real video: python -m benchmarks.footage FOLDER VIDEOS [--train 20 --val 2 ...]

The videos run behind the things and, as still pieces, on them; each split has files of its own. Pieces run forwards or
backwards by the toss of a coin, for real video has an arrow of time, and that must not tell the class.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np

from teinet.data.motion_pairs import MotionPairs, stage
from teinet.data.motion_pairs.draw import Drawing, drawings, write_list
from teinet.data.motion_pairs.scenes import SPLITS, Scene, render
from teinet.data.transforms import Augmentation, Preprocessing, TrainingCrop
from teinet.data.video.reader import VIDEO_SUFFIXES, VideoReader

_SHARES = (5, 1, 2)  # of eight files: train, val, test
_PIECE = 4  # the smallest texture that footage replaces; the plain gray of rings and glasses is smaller


class Footage:
    """Video files to draw on, divided among the splits by a hash of their names.

    Args:
        folder: searched to the bottom for video files.

    Raises:
        SystemExit: it holds too few for every split to have one.
    """

    def __init__(self, folder: Path):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
        ranked = sorted(files, key=lambda path: hashlib.sha256(path.relative_to(folder).as_posix().encode()).digest())
        ends = np.cumsum(_SHARES) * len(ranked) // sum(_SHARES)
        parts = np.split(np.array(ranked, dtype=object), ends[:-1])
        self.files: dict[str, Sequence[Path]] = {split: part.tolist() for split, part in zip(SPLITS, parts)}
        if not all(self.files.values()):
            raise SystemExit(f"{folder}: holds {len(files)} video files; three splits take at least 8")

    def put_behind(self, scene: Scene, split: str, settings: MotionPairs, rng: np.random.Generator) -> np.ndarray:
        """Give a scene's sprites and distractors pieces of frames; return a piece of video as its background."""
        behind = self._cut(split, settings.frames, settings.size, rng)
        for sprite in [*scene.sprites, *scene.distractors]:
            size = len(sprite.texture)
            if size >= _PIECE:
                sprite.texture = self._cut(split, 1, size, rng)[0]
        return behind

    def _cut(self, split: str, frames: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """Consecutive frames of some file, some square of them: (frames, size, size, 3) float32, 0 to 255."""
        files = self.files[split]
        path = files[rng.integers(len(files))]
        share, backwards = rng.random(), rng.random() < 0.5

        def choose(n: int) -> np.ndarray:  # a file that is too short stands still at its end
            start = int(share * max(n - frames + 1, 1))
            return np.minimum(start + np.arange(frames), n - 1)

        images = VideoReader(path, threads=1).sample(choose).images
        square = Preprocessing(size=size, short_side=size)
        augmentation = Augmentation(scales=(1.0, 0.8, 0.6), hflip=True)
        crop = TrainingCrop.draw(*images.shape[1:3], square, augmentation, rng)
        cut = crop(images).astype(np.float32)  # (frames, S, S, 3)
        return np.array(cut[::-1] if backwards else cut)


def draw(root: Path, settings: MotionPairs, footage: Footage) -> Path:
    """Draw motion_pairs on real video into the new folder `root` and return it."""
    root.mkdir(parents=True)

    def write(drawing: Drawing) -> None:
        rng = drawing.generator(settings)
        scene = stage(drawing.pair, settings, rng)
        behind = footage.put_behind(scene, drawing.split, settings, rng)
        drawing.write(root, render(scene, settings, rng, behind), settings.frame_rate)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, drawings(settings)))
    write_list(root, settings)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("videos", type=Path)
    for field in fields(MotionPairs):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    args = parser.parse_args()
    settings = MotionPairs(**{field.name: getattr(args, field.name) for field in fields(MotionPairs)})
    print(draw(args.folder, settings, Footage(args.videos)))


if __name__ == "__main__":
    main()
