"""Plots of a test and of runs: the confusion matrix, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from teinet.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DPI = 120


def blank_figure(width: float, height: float) -> Figure:
    """Return a figure, its size in inches, without a window or global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes, *, size: float = 8, grid: bool = False) -> None:
    """Style axes: thin gray lines at the left and bottom, labels of `size` points, and optionally a horizontal grid."""
    axes.tick_params(which="both", color="#adb5bd", labelcolor="#333333", labelsize=size)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#adb5bd")
    if grid:
        axes.grid(axis="y", color="#e9ecef", linewidth=0.8)
        axes.set_axisbelow(True)


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], title: str | None = None) -> Figure:
    """Draw a confusion matrix of counts (C, C) as percentages of each true class.

    Names are drawn up to 60 classes, numbers up to 30. Beyond 60 classes a cell is a few pixels, so small shares are
    drawn darker than their proportion.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator
    from sklearn.metrics import ConfusionMatrixDisplay

    count = len(class_names)
    percents = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    named, numbered = count <= 60, count <= 30
    names = [_label(name, most=32) for name in class_names]
    side = float(np.clip(0.36 * count, 3.2, 11)) + (0.085 * max(map(len, names), default=0) if named else 0)  # inches
    figure = blank_figure(side + 1.8, side + 1)
    axes = figure.add_subplot()
    ConfusionMatrixDisplay(percents, display_labels=names).plot(
        include_values=numbered,
        values_format=".0f",
        cmap="GnBu",
        ax=axes,
        xticks_rotation="vertical",
        im_kw={"norm": PowerNorm(1 if named else 0.45, vmin=0, vmax=100)},
        text_kw={"fontsize": 7.5 if count > 6 else 12},
    )
    for text in axes.texts:
        if text.get_text() == "0":
            text.set_text("")
    if not named:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
            axis.set_major_formatter("{x:.0f}")
    axes.tick_params(labelsize=9 if numbered else 7, length=0)
    axes.set(xlabel="predicted class", ylabel="true class", title=title or "")
    figure.axes[-1].set_title("%", fontsize=9)  # the color bar
    return figure


def save_confusion(confusion: np.ndarray, class_names: Sequence[str], path: str | Path) -> None:
    """Save `draw_confusion` as an image in the format of the suffix (.png, .svg, .pdf)."""
    figure, form = draw_confusion(confusion, class_names), Path(path).suffix[1:]
    with replacing(path) as part:
        figure.savefig(part, format=form, bbox_inches="tight", pad_inches=0.2)


# Distinguishable for color-blind people too; the darkest first, as most images have few runs.
COLORS = ("#0b7285", "#e8590c", "#7048e8", "#2b8a3e", "#c2255c", "#868e96")
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 1.5, 1, 1.5)))
TITLES = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "top1": "training top-1, %",
    "val_top1": "validation top-1, %",
    "val_map": "validation mAP, %",
    "lr": "learning rate",
}
ONE: tuple[tuple[str, ...], ...] = (("loss", "val_loss"), ("top1", "val_top1"), ("val_map",), ("lr",))  # of one run
SEVERAL: tuple[tuple[str, ...], ...] = (("loss",), ("top1",), ("val_top1",), ("val_map",), ("lr",))


def draw_curves(
    logs: Mapping[str, list[dict[str, Any]]],
    *,
    panels: Sequence[Sequence[str]] | None = None,
    colors: Sequence[str] = COLORS,
    title: str | None = None,
) -> Figure:
    """Draw the learning curves of runs, over their epochs.

    Args:
        logs: the rows of each run's log.csv (numbers or strings) by the run's name; empty strings are skipped.
        panels: the columns of each panel, by default those of `ONE` or `SEVERAL` that have values; the second of two is
            dashed.
        colors: of the runs, in order; they repeat in another line style.
    """
    from matplotlib.lines import Line2D

    usual = ONE if len(logs) == 1 else SEVERAL
    panels = panels or [each for each in usual if any(has_points(logs, column) for column in each)] or usual
    across = len(panels) if len(panels) < 4 else 2
    down = -(-len(panels) // across)
    names = [_label(name) for name in logs]
    width = 4.6 * across if len(panels) > 1 else 5.4
    per_row = max(1, int(width / (0.6 + 0.085 * max(map(len, names), default=0))))  # names in a row of the legend
    under = 0.3 + 0.2 * -(-len(names) // per_row) if len(names) > 1 else 0
    figure = blank_figure(width, 3.0 * down + under + (0.3 if title else 0))
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.08, h_pad=0.08)
    grid = figure.subplots(down, across, squeeze=False).flat
    lines: list[Any] = []
    for axes, columns in zip(grid, panels):
        drawn = [
            _draw(axes, rows, columns, color=colors[i % len(colors)], style=i // len(colors))
            for i, rows in enumerate(logs.values())
        ]
        _finish(axes, columns)
        lines = [old or new for old, new in zip(lines or [None] * len(drawn), drawn)]
    for axes in list(grid)[len(panels) :]:
        axes.set_axis_off()
    if title:
        figure.suptitle(_label(title, most=80), fontsize=11, x=0.01, ha="left", color="#222222")
    shown = [(line, name) for line, name in zip(lines, names) if line is not None]
    if len(names) > 1 and shown:
        handles, labels = zip(*shown)
        handles = [Line2D([], [], color=h.get_color(), linestyle=h.get_linestyle(), linewidth=1.7) for h in handles]
        options = {"loc": "outside lower center", "ncols": min(per_row, len(labels)), "handlelength": 2.8}
        figure.legend(handles, labels, frameon=False, fontsize=9, columnspacing=1.4, labelspacing=0.3, **options)
    return figure


def save_curves(logs: Mapping[str, list[dict[str, Any]]], file: str | Path | IO[bytes], **options: Any) -> None:
    """Save `draw_curves`, with its options, to a file as PNG."""
    draw_curves(logs, **options).savefig(file, format="png")


def save_rates(rates: Sequence[float], losses: Sequence[float], rate: float, file: Path) -> None:
    """Save a plot of the loss at each learning rate, with the rate to take, as PNG."""
    figure = blank_figure(6, 4)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="#1c7ed6")
    axes.axvline(rate, color="#e8590c", linestyle="--", linewidth=1)
    axes.annotate(f" {rate:.2g}", (rate, max(losses)), color="#e8590c", va="top")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, moving average")
    plain(axes, grid=True)
    with replacing(file) as part:
        figure.savefig(part, format="png")


def has_points(logs: Mapping[str, list[dict[str, Any]]], column: str) -> bool:
    """Return true if any of the runs logged this column."""
    return any(next(_points(rows, column), None) for rows in logs.values())


def _points(rows: list[dict[str, Any]], column: str) -> Iterator[tuple[int, float]]:
    """Yield epochs and values. The log repeats a validation's numbers until the next one: each is drawn once."""
    before = None
    for row in rows:
        if row.get(column) in (None, ""):
            continue
        validation = (
            (row.get("val_top1"), row.get("val_map"), row.get("val_loss")) if column.startswith("val_") else None
        )
        value = float(row[column])
        if math.isfinite(value) and (validation is None or validation != before):
            yield int(row["epoch"]), 100 * value if column.endswith(("top1", "map")) else value
        before = validation


def _draw(axes: Axes, rows: list[dict[str, Any]], columns: Sequence[str], *, color: str, style: int) -> Any:
    """Draw the columns; return the first one's line, or the second's if the first is empty, or None if both are."""
    first = None
    for place, column in enumerate(columns):
        points = list(_points(rows, column))
        if not points:
            continue
        marked = len(points) == 1 or (column.startswith("val_") and len(points) <= 30)
        look = {"color": color, "linestyle": STYLES[(style + place) % len(STYLES)], "linewidth": 1.7}
        what = "validation" if column.startswith("val_") else "training"
        (line,) = axes.plot(*zip(*points), label=what, marker="o" if marked else "", markersize=3.5, **look)
        first = first or line
    return first


def _finish(axes: Axes, columns: Sequence[str]) -> None:
    several = len(columns) > 1
    axes.set_title(TITLES[columns[0]].removeprefix("training " if several else ""), fontsize=10, color="#222222")
    axes.set_xlabel("epoch", fontsize=9, color="#333333")
    plain(axes, size=8.5, grid=True)
    epochs = [x for line in axes.lines for x in np.asarray(line.get_xdata())]
    axes.set_xlim(0.5, max(epochs, default=1) + 0.5)
    ticks: Any = axes.xaxis.get_major_locator()
    ticks.set_params(integer=True, min_n_ticks=1)
    values = [y for line in axes.lines for y in np.asarray(line.get_ydata())]
    if columns[0].endswith(("top1", "map")):
        axes.set_ylim(0, 100)
    elif columns == ("lr",) and values and 0 < max(values) <= 1e4 * min(values):
        axes.set_yscale("log")  # drops by ten would hug the axis of a linear scale; a rate of zero has no logarithm
    if several and len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8.5)


def _label(name: str, most: int = 34) -> str:
    """Return a name, shortened in the middle if it is long: names of runs often differ at the end."""
    short = name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"
    short = short.replace("$", r"\$")  # matplotlib would read formulas
    return f" {short}" if short.startswith("_") else short  # and would leave these out of a legend
