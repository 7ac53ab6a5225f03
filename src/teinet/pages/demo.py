"""The demo's result as one HTML page that needs no other file: numbers, curves, confusions, a clip as a filmstrip."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from teinet.data.motion_pairs import PAIRS
from teinet.data.video.reader import VideoReader
from teinet.demo.job import NETWORKS, Result
from teinet.evaluation.plots import draw_curves, save_confusion
from teinet.evaluation.scores import Scores, percent
from teinet.pages.web import inline, render
from teinet.training.run_dir import LOG, read_log
from teinet.utils.text import duration


def write_page(result: Result) -> Path:
    """Write `index.html` into the demo's folder and return its path."""
    page = render(
        "demo.html.jinja",
        filters={"percent": percent, "duration": duration},
        **vars(result),
        pairs=zip,
        curves=_curves(result),
        confusions={network: _confusion(scores) for network, scores in result.scores.items()},
        film=list(_film(result)),
        next_steps=next_steps(result),
        tsn_name=NETWORKS["TSN"],
    )
    path = result.folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def next_steps(result: Result) -> str:
    """The commands that a reader of the page may type next."""
    run, clip = (shlex.quote(_short(path)) for path in (result.runs["TEINet"], result.clip))
    lines = (
        (f"teinet predict {run} {clip}", "name the action in files or folders"),
        (f"teinet test {run} --views 10x3", "ten clips, three crops"),
        ("teinet train --data videos/ --backbone resnet50", "your own clips, a folder for each class"),
    )
    return "\n".join(f"# {what}\n{command}" for command, what in lines) + "\n"


def _short(path: Path) -> str:
    """The path as it is typed from the folder that the reader is in."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _curves(result: Result) -> str:
    logs = {network: read_log(run / LOG) for network, run in result.runs.items()}
    figure = draw_curves(logs, panels=(("loss",), ("val_top1",)), colours=("#868e96", "#0b7285"))
    right = figure.axes[1]
    right.axhline(50, color="#c92a2a", lw=1, ls="--")
    note = {"ha": "left", "va": "bottom", "fontsize": 8, "color": "#c92a2a", "transform": right.get_yaxis_transform()}
    right.text(0.01, 51, "limit of a network blind to order", **note)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    return inline(buffer.getvalue())


def _confusion(scores: Scores) -> str:
    names = [name for pair in PAIRS for name in pair]  # partners side by side: reversals lie beside the diagonal
    order = [scores.class_names.index(name) for name in names]
    buffer = io.BytesIO()
    save_confusion(scores.confusion[np.ix_(order, order)], names, buffer)
    return inline(buffer.getvalue())


def _film(result: Result) -> Iterator[tuple[str, float]]:
    """Each frame that the networks looked at, as a picture, with its second."""
    indices = result.predictions["TEINet"].frame_indices.reshape(-1)
    frames = VideoReader(result.clip).frames_at(indices)
    for picture, second in zip(frames.images, frames.times):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        yield inline(buffer.getvalue()), float(second)
