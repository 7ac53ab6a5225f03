"""Draws the figures of docs/explanation/inside.md with the pretrained model motion_pairs, and prints its numbers:
python benchmarks/evidence/inside.py [DATA/fights/fight/fi005.mp4]

The clip is one that the demo draws; no training saw it. A clip of fights, if named, is shown to the pretrained model
`fights`, which was trained on all of them.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from teinet import Recognizer
from teinet.data.motion_pairs import draw
from teinet.data.view_loading import load_views
from teinet.demo.job import FRESH_CLIPS, PRETRAINED
from teinet.pages.explained import draw_gates, draw_kernels, draw_movement, frame_names, overlays
from teinet.pages.render import figure_png, png
from teinet.recognition.explanation import Explanation, look_inside

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LABEL = "moving left"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip = next((draw(folder, FRESH_CLIPS) / "test" / LABEL).glob("*.mp4"))
        recognizer = Recognizer.load(PRETRAINED)
        inside = look_inside(recognizer, clip)
        frames = load_views(clip, recognizer.sampling, recognizer.preprocessing).frames[0]
        still = look_inside(recognizer, frames[:1].repeat(len(frames), 0))  # repeats its first frame
    IMAGES.mkdir(exist_ok=True)
    blocks = inside.blocks
    for name, figure in (
        ("kernels", draw_kernels(blocks)),
        ("movement", draw_movement(blocks)),
        ("gates", draw_gates(blocks, frame_names(inside))),
    ):
        (IMAGES / f"inside-{name}.png").write_bytes(figure_png(figure))
    (IMAGES / "inside-film.png").write_bytes(png(film(inside)))
    print(f"{LABEL}: {inside.labels[:2]}")
    say(inside, still)
    for name in sys.argv[1:2]:
        fight = look_inside(Recognizer.load("fights"), Path(name))
        Image.fromarray(film(fight, columns=4)).save(IMAGES / "inside-fights.jpg", quality=85)
        print(f"\n{name}: {fight.labels}")
        say(fight)


def say(inside: Explanation, still: Explanation | None = None) -> None:
    """Each block's movement and gates; and those of a still clip."""
    blocks = inside.blocks
    print("block                 stage  moved  gates: over channels  over time  the same of a still clip")
    for block, control in zip(blocks, (still or inside).blocks):
        over_time, over_channels = np.nanstd(block.gates, 0).mean(), np.nanmean(block.gates, 0).std()
        at_rest = np.nanstd(control.gates, 0).mean()
        print(
            f"{block.name:<22}{block.stage:>4}{block.moved:>8.3f}{over_channels:>21.3f}{over_time:>11.3f}{at_rest:>26.3f}"
        )
    first = blocks[0]
    for tap, name in ((2, "next"), (1, "this"), (0, "previous")):
        print(f"{first.name}, started with {name}: {first.kernels[first.initial[:, tap] == 1].mean(0).round(2)}")


def film(inside: Explanation, columns: int = 8) -> np.ndarray:
    """Frames above, their maps below, so many next to each other."""
    maps = [np.array(Image.open(io.BytesIO(each)).convert("RGB")) for each in overlays(inside)]
    frames = [np.array(Image.fromarray(frame).resize(maps[0].shape[1::-1])) for frame in inside.frames]
    rows = [row[i : i + columns] for i in range(0, len(frames), columns) for row in (frames, maps)]
    return np.concatenate([np.concatenate(row, 1) for row in rows], 0)


if __name__ == "__main__":
    main()
