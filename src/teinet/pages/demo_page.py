"""The demo's results as one self-contained HTML page: accuracies, curves, confusion matrices and a clip's frames."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from teinet.data.motion_pairs import PAIRS
from teinet.data.video.reader import VideoReader
from teinet.demo.job import NETWORKS, PRETRAINED, Result
from teinet.evaluation.plots import draw_confusion, draw_curves
from teinet.evaluation.scores import Scores
from teinet.pages.render import figure_png, inline, png, render
from teinet.training.run_dir import LOG, read_log
from teinet.utils.files import write_text
from teinet.utils.text import duration, percent


def write_page(result: Result) -> Path:
    """Write `index.html` into the demo's folder and return its path; the quick form has no results."""
    scores = {} if result.quick else result.scores
    page = render(
        "demo.html.jinja",
        filters={"percent": percent, "duration": duration},
        **vars(result),
        pairs=zip,
        curves=None if result.quick else _curves(result),
        confusions={network: _confusion(each) for network, each in scores.items()},
        film=list(_film(result)),
        next_steps=next_steps(result),
        tsn_name=NETWORKS["TSN"],
    )
    path = result.folder / "index.html"
    write_text(path, page, errors="replace")
    return path


def next_steps(result: Result) -> str:
    """Return commands to try next, with comments."""
    run, clip = (shlex.quote(_short(path)) for path in (result.runs["TEINet"], result.clip))
    lines = (
        (f"teinet predict {PRETRAINED if result.quick else run} {clip}", "recognize the action in files or folders"),
        (f"teinet test {run} --views 10x3", "ten clips, three crops"),
        ("teinet train videos/ --backbone resnet50", "your own clips, a folder for each class"),
    )
    return "\n".join(f"# {what}\n{command}" for command, what in lines) + "\n"


def _short(path: Path) -> str:
    """Return a path relative to the current folder, if it is inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _curves(result: Result) -> str:
    logs = {network: read_log(run / LOG) for network, run in result.runs.items()}
    figure = draw_curves(logs, panels=(("loss",), ("val_top1",)), colors=("#868e96", "#0b7285"))
    right = figure.axes[1]
    right.axhline(50, color="#c92a2a", lw=1, ls="--")
    note = {"ha": "left", "va": "bottom", "fontsize": 8, "color": "#c92a2a", "transform": right.get_yaxis_transform()}
    right.text(0.01, 51, "limit without temporal order", **note)
    return inline(figure_png(figure, dpi=140))


def _confusion(scores: Scores) -> str:
    names = [name for pair in PAIRS for name in pair]  # pairs are neighbors: reversals are next to the diagonal
    order = [scores.class_names.index(name) for name in names]
    figure = draw_confusion(scores.confusion[np.ix_(order, order)], names)
    return inline(figure_png(figure, bbox_inches="tight", pad_inches=0.2))


def _film(result: Result) -> Iterator[tuple[str, float]]:
    """Yield each frame of the clip that the networks got, with its second."""
    indices = result.predictions["TEINet"].frame_indices
    assert indices is not None, "the clip was read"
    frames = VideoReader(result.clip).frames_at(indices.reshape(-1))
    for image, second in zip(frames.images, frames.times):
        yield inline(png(image)), float(second)
