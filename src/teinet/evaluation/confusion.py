"""The confusion matrix as a picture: rows are the true classes, each row in shares of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], title: str | None = None) -> Figure:
    """Draw a `(C, C)` table of counts: names up to 60 classes, shares in the cells up to 30.

    Beyond 60 classes a cell is a few pixels, and small shares are drawn darker than their proportion so as to be seen.
    Returns a matplotlib Figure that belongs to no window and no global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    count = len(class_names)
    rows = confusion.sum(axis=1, keepdims=True)
    share = np.where(rows > 0, confusion / np.maximum(rows, 1), np.nan)
    names = [_label(name) for name in class_names]
    named, written = count <= 60, count <= 30
    longest = max(map(len, names), default=0) if named else 0
    side = float(np.clip(0.36 * count, 3.2, 11))  # inches of the square itself
    if not named:
        side = max(1, round(9 * DPI / count)) * count / DPI  # whole pixels for each cell
    left, bottom = 0.9 + 0.085 * longest, 0.9 + 0.075 * longest
    right, top = 1.1, 0.55 if title else 0.25
    figure = Figure(figsize=(left + side + right, bottom + side + top), dpi=DPI)
    FigureCanvasAgg(figure)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    colours = LinearSegmentedColormap.from_list("ink", ["#fbfaf6", "#cfe3e2", "#6fb0b4", "#21748a", "#0d3b57"])
    colours = colours.with_extremes(bad="#e9e6df")  # a class without clips
    norm = PowerNorm(1 if named else 0.45, vmin=0, vmax=1)
    image = axes.imshow(np.ma.masked_invalid(share), cmap=colours, norm=norm, interpolation="nearest")
    axes.set_xlabel("recognised as", color="#333333")
    axes.set_ylabel("true class", color="#333333")
    if title:
        axes.set_title(title, fontsize=11, loc="left", color="#222222")
    if named:
        size = 9 if count <= 30 else 7
        upright = 0.1 * longest > side / count
        axes.set_xticks(range(count), names, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1 if written else 0.4)
    else:
        axes.tick_params(labelsize=9)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if written:
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.005:  # what would be written as 0 stays empty
                ink = "white" if value > 0.5 else "#17394a"
                size = 7.5 if count > 6 else 12
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=size, color=ink)
    bar_axes = figure.add_axes(((left + side + 0.2) / width, bottom / height, 0.14 / width, side / height))
    bar = figure.colorbar(image, cax=bar_axes, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels(["0 %", "25", "50", "75", "100 %"], fontsize=8, color="#333333")
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    return figure


def save_confusion(
    confusion: np.ndarray, class_names: Sequence[str], path: str | Path, title: str | None = None
) -> None:
    """Write `draw_confusion` as a picture; the suffix chooses the format (.png, .svg, .pdf)."""
    draw_confusion(confusion, class_names, title).savefig(path, bbox_inches="tight", pad_inches=0.2)


def _label(name: str) -> str:
    short = name if len(name) <= 32 else name[:31] + "…"
    return short.replace("$", r"\$")  # matplotlib would read formulas
