"""Lengths and sizes of clips as pictures, in the colours of the confusion matrix."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from teinet.data.tools.inspection.sample import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR, _DARK, _INK, _LIMIT = "#21748a", "#0d3b57", "#333333", "#c92a2a"
_BINS = 24
_SIZES = 12


def draw_charts(sample: Sample) -> bytes:
    """A PNG: how long the clips are in frames and in seconds, and how large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = [m.seconds for m in sample.measured if m.seconds is not None]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, 3 if seconds else 2, width_ratios=(1, 1, 1.1) if seconds else None))
    _lengths(axes[0], [m.frames for m in sample.measured], "frames", whole=True)
    for limit, count in sample.shorter().items():
        if count:  # what networks look at, where some clips have less
            axes[0].axvline(limit, color=_LIMIT, lw=1, ls="--")
            where = {"transform": axes[0].get_xaxis_transform(), "ha": "left", "va": "top"}
            axes[0].text(limit, 0.99, f" {limit}", fontsize=8, color=_LIMIT, **where)
    if seconds:
        _lengths(axes[1], seconds, "seconds")
    _sizes(axes[-1], sample)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8, colors=_INK)
    axes[-1].spines["left"].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return buffer.getvalue()


def _lengths(axes: Axes, values: list[float], unit: str, *, whole: bool = False) -> None:
    low, high = min(values), max(values)
    if low == high:  # one bar in the middle, and not a block
        low, high = (low - 10, high + 10) if whole else (low * 0.5, high * 1.5)
    bins = min(_BINS, int(high - low) + 1) if whole else _BINS
    edges = np.linspace(low - 0.5, high + 0.5, bins + 1) if whole else np.linspace(low, high, bins + 1)
    axes.hist(values, bins=edges, color=_BAR, edgecolor="white", linewidth=0.5)
    axes.set_title(f"clips by {unit}", fontsize=10, loc="left", color=_INK)
    axes.yaxis.get_major_locator().set_params(integer=True)
    if whole:
        axes.xaxis.get_major_locator().set_params(integer=True)


def _sizes(axes: Axes, sample: Sample) -> None:
    counted = Counter((m.width, m.height) for m in sample.measured).most_common(_SIZES)
    names = [f"{width} x {height}" for (width, height), _ in counted]
    numbers = [count for _, count in counted]
    axes.barh(range(len(names)), numbers, color=_DARK, height=0.7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(max(len(names), 6) - 0.5, -0.6)  # the commonest on top, and one bar alone is no block
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    commonest = f", the {_SIZES} commonest" if len(sample.sizes()) > _SIZES else ""
    axes.set_title(f"clips by size{commonest}", fontsize=10, loc="left", color=_INK)
