"""Draws images/order.png from what `teinet demo` leaves: python docs/make_strip.py teinet-demo"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

from teinet import Recognizer, VideoReader
from teinet.data.motion_pairs import PAIRS
from teinet.data.motion_pairs.draw import Drawing

IMAGE = Path(__file__).parent / "images" / "order.png"
CLIP = Drawing("test", pair=11, index=2)
COLORS = {"TSN": "#7b8794", "TEINet": "#00897b"}


def main(demo: Path) -> None:
    """Draw the frames of one clip, forward and backward, with the scores of both networks."""
    recognizers = {name: Recognizer.load(demo / name.lower()) for name in COLORS}
    names = PAIRS[CLIP.pair]
    figure = plt.figure(figsize=(11, 2.8), dpi=140, facecolor="white")
    grid = figure.add_gridspec(2, 10, width_ratios=[1] * 8 + [2.15, 1.9], wspace=0.05, hspace=0.28)
    grid.update(left=0.01, right=0.96, top=0.9, bottom=0.02)
    for row, (path, direction) in enumerate(zip(CLIP.paths(demo / "motion_pairs"), ("forward", "backward"))):
        frames = VideoReader(path).frames_at(recognizers["TSN"](path).frame_indices[0]).images
        for column, frame in enumerate(frames):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(frame)
            axes.set_axis_off()
            if column == 0:
                axes.set_title(f"{direction}: “{names[row]}”", loc="left", fontsize=13, fontweight="bold", pad=5)
        bars(
            figure.add_subplot(grid[row, 9]), {n: dict(r(path, top_k=24).labels) for n, r in recognizers.items()}, names
        )
    IMAGE.parent.mkdir(exist_ok=True)
    figure.savefig(IMAGE)
    Image.open(IMAGE).convert("RGB").quantize(256).save(IMAGE, optimize=True)  # a third of the bytes


def bars(axes: plt.Axes, scores: dict[str, dict[str, float]], labels: tuple[str, ...]) -> None:
    """Draw the scores of `labels` as bars, by network."""
    for n, (network, of) in enumerate(scores.items()):
        for k, label in enumerate(labels):
            y = 2.4 * n + k
            axes.barh(y, of[label], color=COLORS[network], height=0.85)
            axes.text(-0.03, y, label, ha="right", va="center", fontsize=11)
            axes.text(of[label] + 0.03, y, f"{100 * of[label]:.0f} %", va="center", fontsize=11)
        style = {"fontsize": 13, "fontweight": "bold", "color": COLORS[network]}
        axes.text(-0.98, 2.4 * n + 0.5, network, ha="center", va="center", **style)
    axes.set(xlim=(0, 1.2), ylim=(4.0, -0.6))
    axes.set_axis_off()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
