"""The explanation of a prediction as one HTML page: frames with their maps, gates over time, temporal kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from teinet.evaluation.plots import COLORS, blank_figure, plain
from teinet.pages.render import figure_png, inline, png, render
from teinet.recognition.explanation import Block, Explanation
from teinet.utils.text import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUPS = 16  # groups of neighboring channels, whose gates are averaged
# Taps of a kernel, by the frame that a channel took at initialization, each with its color; and labels of their times.
_BOTH_SIDES = ((2, COLORS[0], "next"), (1, COLORS[5], "this"), (0, COLORS[1], "previous")), ("t−1", "t", "t+1")
_CAUSAL = ((2, COLORS[5], "this"), (1, COLORS[1], "previous")), ("t−2", "t−1", "t")


def render_page(inside: Explanation, *, clip: str, weights: str, network: str, license: str) -> str:
    """Return the page of the result of `look_inside`; names are shown as given, and the license may be empty."""
    gated = [block for block in inside.blocks if block.gates is not None]
    mixing = [block for block in inside.blocks if block.kernels is not None]
    names = frame_names(inside)
    frames, maps = (map(inline, images) for images in (map(png, inside.frames), overlays(inside)))
    return render(
        "explained.html.jinja",
        filters={"percent": percent},
        inside=inside,
        clip=clip,
        weights=weights,
        network=network,
        license=license,
        film=list(zip(frames, maps, names, inside.frame_logits)),
        unit="s" if inside.times is not None else "",
        gates=inline(figure_png(draw_gates(gated, names))) if gated else None,
        kernels=inline(figure_png(draw_kernels(mixing))) if mixing else None,
        residual=any(block.residual for block in gated),
        causal=any(block.causal for block in inside.blocks),
        movement=inline(figure_png(draw_movement(mixing))) if mixing else None,
    )


def frame_names(inside: Explanation) -> list[str]:
    """Return the names of the frames: their seconds, or their indices if the clip has no timestamps."""
    if inside.times is None:
        return [str(int(index)) for index in inside.indices]
    return [f"{second:.2f}" for second in inside.times]


def overlays(inside: Explanation) -> list[bytes]:
    """Return each frame as a PNG overlaid with its map: red for the class, blue against it, on one scale."""
    from matplotlib import colormaps

    height, width = inside.frames.shape[1:3]
    limit = max(float(np.abs(inside.maps).max()), 1e-12)
    images = []
    for frame, plane in zip(inside.frames, inside.maps):
        smooth = Image.fromarray((plane / limit).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        value = np.asarray(smooth).clip(-1, 1)
        color = 255 * np.asarray(colormaps["RdBu_r"](0.5 + 0.5 * value))[..., :3]
        opacity = 0.75 * np.abs(value)[..., None]
        gray = frame.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
        images.append(png((gray * (1 - opacity) + color * opacity).round().astype(np.uint8)))
    return images


def draw_gates(blocks: Sequence[Block], times: Sequence[str]) -> Figure:
    """Draw the gates of each stage's last block, one column per stage: T frames (named by `times`) x channel groups.

    The upper row has the gates, the lower one their differences from their means over the clip. The frame without a
    gate is gray. All `blocks` must have gates.
    """
    last = {block.stage: block for block in blocks}
    images = {}
    for stage, block in last.items():
        assert block.gates is not None
        groups = np.array_split(block.gates, min(GROUPS, block.channels), axis=1)
        images[stage] = np.stack([group.mean(axis=1) for group in groups])  # (groups, T)
    changes = {stage: image - np.nanmean(image, axis=1, keepdims=True) for stage, image in images.items()}
    limit = max(1e-3, *(float(np.nanmax(np.abs(change))) for change in changes.values()))
    low = 0.5 if blocks[0].residual else 0.0
    figure = blank_figure(2.2 * len(last) + 1.1, 4.6)
    panels = figure.subplots(2, len(last), squeeze=False, sharex=True)
    for row, name, shown, least, most, colors in (
        (panels[0], "gate", images, low, low + 1, "viridis"),
        (panels[1], "gate minus its mean", changes, -limit, limit, "RdBu_r"),
    ):
        drawn = []
        for axes, image in zip(row, shown.values()):
            look = {"vmin": least, "vmax": most, "cmap": colors, "aspect": "auto", "interpolation": "nearest"}
            drawn.append(axes.imshow(image, **look))
            axes.set_yticks([])
            axes.set_xticks(range(len(times)), times, rotation=90)
            axes.set_facecolor("#dee2e6")
            plain(axes)
        row[0].set_ylabel(f"channels, {GROUPS} groups", fontsize=9, color="#333333")
        figure.colorbar(drawn[0], ax=row, label=name, fraction=0.05)
    for axes, (stage, block) in zip(panels[0], last.items()):
        axes.set_title(f"res{stage}, {block.channels} channels", fontsize=10, color="#222222")
    return figure


def draw_movement(blocks: Sequence[Block]) -> Figure:
    """Draw the change of each block's kernels in training, colored by stage."""
    figure = blank_figure(9.2, 3.0)
    axes = figure.subplots()
    for stage in sorted({block.stage for block in blocks}):
        where = [i for i, block in enumerate(blocks) if block.stage == stage]
        moved = [blocks[i].moved for i in where]
        axes.bar(where, moved, color=COLORS[(stage - 2) % len(COLORS)], width=0.7, label=f"res{stage}")
    axes.set_xticks(range(len(blocks)), [block.name for block in blocks], rotation=90, fontsize=7.5)
    axes.set_ylabel("change, RMS", fontsize=9, color="#333333")
    axes.legend(frameon=False, fontsize=8.5, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    plain(axes, grid=True)
    return figure


def draw_kernels(blocks: Sequence[Block]) -> Figure:
    """Draw mean kernels, a panel per stage, by initialization of the channels: dashed before, solid after training."""
    stages = sorted({block.stage for block in blocks})
    figure = blank_figure(2.3 * len(stages) + 0.4, 2.9)
    panels = figure.subplots(1, len(stages), squeeze=False, sharey=True)[0]
    taps, ticks = _CAUSAL if any(block.causal for block in blocks) else _BOTH_SIDES
    lines: list[Any] = []
    for axes, stage in zip(panels, stages):
        learned = np.concatenate([b.kernels for b in blocks if b.stage == stage and b.kernels is not None])
        began = np.concatenate([b.initial for b in blocks if b.stage == stage and b.initial is not None])
        lines = []
        for tap, color, name in taps:
            own = began[:, tap] == 1  # the channels that took only this frame at initialization
            if not own.any():
                continue
            axes.plot(range(3), began[own].mean(0), color=color, linestyle="--", linewidth=1, alpha=0.7)
            mean, spread = learned[own].mean(0), learned[own].std(0)
            lines += axes.plot(range(3), mean, color=color, marker="o", markersize=4, label=f"initially {name} frame")
            axes.fill_between(range(3), mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)
        axes.set_title(f"res{stage}", fontsize=10, color="#222222")
        axes.set_xticks(range(3), ticks, fontsize=9)
        axes.axhline(0, color="#adb5bd", linewidth=0.8)
        plain(axes)
    panels[0].set_ylabel("kernel", fontsize=9, color="#333333")
    figure.legend(handles=lines, frameon=False, fontsize=8.5, ncols=3, loc="outside lower center")
    return figure
