"""The look inside a prediction as one HTML page that needs no other file."""

from __future__ import annotations

from teinet.evaluation.scores import percent
from teinet.pages.inside_pictures import (
    draw_gates,
    draw_kernels,
    draw_movement,
    overlays,
    png,
    to_png,
)
from teinet.pages.web import inline, render
from teinet.recognition.inside import Inside


def render_page(inside: Inside, *, clip: str, weights: str, network: str, licence: str) -> str:
    """The page.

    Args:
        inside: what `look_inside` found.
        clip, weights: what to call the file and the weights.
        network: its name.
        licence: of the weights; may be empty.
    """
    gated = [block for block in inside.blocks if block.gates is not None]
    mixing = [block for block in inside.blocks if block.kernels is not None]
    names = frame_names(inside)
    return render(
        "inside.html.jinja",
        filters={"percent": percent},
        inside=inside,
        clip=clip,
        weights=weights,
        network=network,
        licence=licence,
        film=list(zip(map(inline, map(png, inside.frames)), map(inline, overlays(inside)), names, inside.frame_logits)),
        unit="s" if inside.times is not None else "",
        gates=inline(to_png(draw_gates(gated, names))) if gated else None,
        kernels=inline(to_png(draw_kernels(mixing))) if mixing else None,
        residual=any(block.residual for block in gated),
        causal=any(block.causal for block in inside.blocks),
        movement=inline(to_png(draw_movement(mixing))) if mixing else None,
    )


def frame_names(inside: Inside) -> list[str]:
    """What to call the frames: their seconds, or their numbers in a clip without a clock."""
    if inside.times is None:
        return [str(int(index)) for index in inside.indices]
    return [f"{second:.2f}" for second in inside.times]
