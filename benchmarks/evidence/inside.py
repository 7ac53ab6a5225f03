"""Draws the figures of docs/explanation/inside.md with the shipped recogniser of motion_pairs, and prints its figures:
python benchmarks/evidence/inside.py

The clip is one that the demo draws; no training saw it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from teinet import Recognizer
from teinet.data.motion_pairs import draw
from teinet.data.views import load_views
from teinet.demo.first_look import CLIPS, WEIGHTS
from teinet.explain.inside import look_inside
from teinet.explain.page import frame_names
from teinet.explain.pictures import draw_gates, draw_kernels, draw_movement, overlays, png, to_png

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LABEL = "moving left"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip = next((draw(folder, CLIPS) / "test" / LABEL).glob("*.mp4"))
        recognizer = Recognizer.load(WEIGHTS)
        inside = look_inside(recognizer, clip)
        frames = load_views(clip, recognizer.sampling, recognizer.preprocessing).frames[0].permute(0, 2, 3, 1)
        still = look_inside(recognizer, frames[:1].repeat(len(frames), 1, 1, 1))  # its first frame and nothing else
    PICTURES.mkdir(exist_ok=True)
    blocks = inside.blocks
    for name, figure in (
        ("kernels", draw_kernels(blocks)),
        ("movement", draw_movement(blocks)),
        ("gates", draw_gates(blocks, frame_names(inside))),
    ):
        (PICTURES / f"inside-{name}.png").write_bytes(to_png(figure))
    (PICTURES / "inside-film.png").write_bytes(png(film(inside)))
    print(f"{LABEL}: {inside.labels[:2]}")
    print("block                 stage  moved  gates: over channels  over time  the same of a still clip")
    for block, control in zip(blocks, still.blocks):
        over_time, over_channels = np.nanstd(block.gates, 0).mean(), np.nanmean(block.gates, 0).std()
        at_rest = np.nanstd(control.gates, 0).mean()
        print(
            f"{block.name:<22}{block.stage:>4}{block.moved:>8.3f}{over_channels:>21.3f}{over_time:>11.3f}{at_rest:>26.3f}"
        )
    first = blocks[0]
    for tap, name in ((2, "next"), (1, "this"), (0, "previous")):
        print(f"{first.name}, began with {name}: {first.kernels[first.initial[:, tap] == 1].mean(0).round(2)}")


def film(inside) -> np.ndarray:
    """Frames above, their maps below."""
    import io

    from PIL import Image

    maps = [np.array(Image.open(io.BytesIO(each)).convert("RGB")) for each in overlays(inside)]
    frames = [np.array(Image.fromarray(frame).resize(maps[0].shape[1::-1])) for frame in inside.frames]
    return np.concatenate([np.concatenate(row, 1) for row in (frames, maps)], 0)


if __name__ == "__main__":
    main()
