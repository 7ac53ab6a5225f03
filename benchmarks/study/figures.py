"""A study as images: each network's folds and their mean, and the learning curves."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.study.results import Done
from benchmarks.study.statistics import reliability
from teinet.evaluation.plots import COLORS, DPI, has_points, save_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_networks(done: Done) -> Figure:
    """A row for each network: a ring for each cell's top-1, a bar at the mean; backwards ones hollow and gray."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks, title = list(done.study.networks), textwrap.fill(done.study.title, 72)
    figure = Figure(figsize=(6.4, 0.9 + 0.38 * len(networks) + 0.2 * title.count("\n")), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for y, network in enumerate(networks):
        for test, color in (("backwards", "#adb5bd"), ("test", COLORS[0])):
            values = [100 * r[test]["top1"] for r in done.of(network).values() if r.get(test)]
            if not values:
                continue
            mean = 100 * done.mean(network, test).value
            axes.plot(values, [y] * len(values), "o", mfc="none", color=color, markersize=5, alpha=0.8)
            axes.plot([mean, mean], [y - 0.32, y + 0.32], color=color, linewidth=2.4)
            if test == "test":
                axes.annotate(f"{mean:.1f}", (mean, y), (0, 12), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(networks)), networks, fontsize=9)
    axes.set_ylim(len(networks) - 0.4, -0.7)
    axes.set_xlabel("top-1, %: rings are cells, bars their means" + _grey(done), fontsize=9, color="#333333")
    axes.tick_params(labelsize=9, color="#adb5bd", labelcolor="#333333")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#adb5bd")
    axes.grid(axis="x", color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color="#222222")
    return figure


def draw_calibration(done: Done) -> Figure:
    """A line per network: how often predictions of a confidence are right; the diagonal is perfect calibration."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.0), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="#ced4da", linewidth=1)
    for i, network in enumerate(done.study.networks):
        if (sure := done.confidence(network)) is not None:
            bars = reliability(*sure)
            x, y = [100 * bar.confidence for bar in bars], [100 * bar.accuracy for bar in bars]
            round_again, color = divmod(i, len(COLORS))
            look = {"color": COLORS[color], "linestyle": "--" if round_again else "-"}
            axes.plot(x, y, "o", **look, markersize=3.5, linewidth=1.4, label=network)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set_xlabel("how sure it is, %", fontsize=9, color="#333333")
    axes.set_ylabel("how often it is right, %", fontsize=9, color="#333333")
    axes.tick_params(labelsize=9, color="#adb5bd", labelcolor="#333333")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#adb5bd")
    axes.grid(color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    figure.suptitle(textwrap.fill(done.study.title, 56), fontsize=11, x=0.01, ha="left", color="#222222")
    return figure


def save_images(done: Done, folder: str | Path) -> list[Path]:
    """Write NAME.png, NAME-curves.png and NAME-calibration.png into a folder; nothing where no cell is done."""
    folder = Path(folder)
    if not done.cells:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    networks, curves = folder / f"{done.study.name}.png", folder / f"{done.study.name}-curves.png"
    calibration = folder / f"{done.study.name}-calibration.png"
    draw_networks(done).savefig(networks)
    draw_calibration(done).savefig(calibration)
    logs = {network: rows for network in done.study.networks if (rows := done.curve(network))}
    panels = [(column,) for column in ("loss", "top1", "val_top1") if has_points(logs, column)]
    save_curves(logs, curves, panels=panels, title=f"{done.study.title}: means over cells")
    return [networks, curves, calibration]


def _grey(done: Done) -> str:
    return "; gray, the clips backwards" if done.study.backwards else ""
