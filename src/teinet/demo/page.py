"""The demo's result as one HTML page that needs no other file: numbers, curves, confusions, and a clip as a filmstrip."""

from __future__ import annotations

import base64
import html
import io
import shlex
from pathlib import Path

import numpy as np
import torch

from teinet.data.decode import read_clip
from teinet.data.motion_pairs import PAIRS
from teinet.demo.job import Result
from teinet.evaluation.confusion import save_confusion
from teinet.evaluation.scores import Scores, percent
from teinet.inference import Prediction
from teinet.training.progress import duration
from teinet.training.state import LOG, read_log

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #66717f; --line: #dde2e8; --paper: #fff; --mark: #0b7285; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --dim: #98a3b1; --line: #333c48; --paper: #14181e; --mark: #3bc9db; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; }
p { max-width: 46rem; } .dim { color: var(--dim); } code { font-size: .9em; }
.big { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; margin: 1.4rem 0; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; }
.card b { display: block; font-size: 2.6rem; line-height: 1.15; } .card.win b { color: var(--mark); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } @media (max-width: 46rem) { .pair { grid-template-columns: 1fr; } }
figure { margin: 0; } figure img { width: 100%; border-radius: 6px; background: #fff; } figcaption { color: var(--dim); font-size: .9rem; }
.film { display: flex; gap: 4px; } .film figure { flex: 1; } .film img { image-rendering: auto; border-radius: 4px; }
.film figcaption { font-size: .75rem; text-align: center; }
table { border-collapse: collapse; } td, th { padding: .25rem .9rem .25rem 0; text-align: left; } th { font-weight: 600; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .65em; background: var(--mark); border-radius: 2px; }
pre { background: color-mix(in srgb, var(--ink) 7%, transparent); padding: .9rem 1.1rem; border-radius: 8px; overflow-x: auto; }
video { width: 12rem; border-radius: 8px; }
"""


def write_page(result: Result) -> Path:
    """Write `index.html` into the demo's folder and return its path."""
    tsn, teinet = result.scores["TSN"], result.scores["TEINet"]
    clips = result.clips
    total = sum(result.seconds.values())
    parts = [
        "<h1>Does the network see time?</h1>",
        f"<p class=dim>{24 * clips.train} training clips and {24 * clips.test} test clips of 24 classes, drawn by "
        "this program. The classes come in 12 pairs that are each other backwards; in the test every clip stands "
        "twice, forwards under one name and backwards under the other. A network that is blind to the order of "
        "frames gives both the same answer, so it cannot pass 50&nbsp;%.</p>",
        "<div class=big>",
        _card("TSN, the 2-D network alone", tsn.top1, "at most 50 % are possible", ""),
        _card("TEINet, the same with TEI modules", teinet.top1, "learnt by the same recipe", " win"),
        "</div>",
        _table(result),
        "<h2>Learning</h2>",
        _figure(_curves(result), "Training loss, and top-1 on the validation clips"),
        "<h2>What is taken for what</h2><div class=pair>",
        *(_figure(_confusion(s), f"{html.escape(n)}: {percent(s.top1)} top-1") for n, s in result.scores.items()),
        "</div>",
        "<p>Partners stand side by side. A mistake beside the diagonal is the right motion in the wrong direction.</p>",
        "<h2>A clip that no training saw</h2>",
        f"<p>Its true name is <b>{html.escape(result.label)}</b>. The frames are those that the networks looked at.</p>",
        _filmstrip(result),
        "<div class=pair>",
        *(_answers(n, p) for n, p in result.predictions.items()),
        "</div>",
        "<h2>What next</h2>",
        f"<pre>{html.escape(next_steps(result))}</pre>",
        f"<p class=dim>{html.escape(result.recipe.model.name)}, {result.recipe.model.num_frames} frames of "
        f"{result.recipe.clip.size} px, {result.recipe.optim.epochs} epochs from scratch, seed {result.recipe.run.seed}; "
        f"{duration(total)} in all ("
        + ", ".join(f"{html.escape(k)} {duration(v)}" for k, v in result.seconds.items())
        + ").</p>",
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>teinet demo</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    path = result.folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def next_steps(result: Result) -> str:
    """The commands that a reader of the page may type next."""
    run = shlex.quote(str(result.runs["TEINet"]))
    lines = (
        (f"teinet predict {run} {shlex.quote(str(result.clip))}", "name the action in files or folders"),
        (f"teinet test {run} --views 10x3", "ten clips, three crops"),
        ("teinet train --data videos/ --backbone resnet50", "your own clips, a folder for each class"),
    )
    return "\n".join(f"# {what}\n{command}" for command, what in lines) + "\n"


def _card(title: str, share: float, note: str, kind: str) -> str:
    return f"<div class='card{kind}'>{html.escape(title)}<b>{percent(share)}</b><span class=dim>{html.escape(note)}</span></div>"


def _table(result: Result) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(n)}<td class=n>{percent(s.top1)}<td class=n>{percent(s.top5)}"
        f"<td class=n>{percent(s.mean_class_accuracy)}<td class=n>{len(s)}<td class=n>{s.num_unreadable}"
        for n, s in result.scores.items()
    )
    return (
        "<table><tr><th>network<th>top-1<th>top-5<th>mean class accuracy<th>clips<th>unreadable" + rows + "</table>"
    )


def _figure(png: bytes, caption: str) -> str:
    return f"<figure><img src='{_inline(png, 'image/png')}' alt='{html.escape(caption)}'><figcaption>{html.escape(caption)}</figcaption></figure>"


def _inline(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _curves(result: Result) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    for (network, run), colour in zip(result.runs.items(), ("#868e96", "#0b7285")):
        rows = read_log(run / LOG)
        left.plot([int(r["epoch"]) for r in rows], [float(r["loss"]) for r in rows], label=network, color=colour, lw=2)
        val = [(int(r["epoch"]), 100 * float(r["val_top1"])) for r in rows if r["val_top1"]]
        right.plot(*zip(*val), label=network, color=colour, lw=2, marker="o", ms=4)
    right.axhline(50, color="#c92a2a", lw=1, ls="--")
    right.text(right.get_xlim()[1], 51, "limit of a network blind to order", ha="right", va="bottom", fontsize=8, color="#c92a2a")
    left.set(title="training loss", xlabel="epoch")
    right.set(title="validation top-1, %", xlabel="epoch", ylim=(0, 100))
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    plt.close(figure)
    return buffer.getvalue()


def _confusion(scores: Scores) -> bytes:
    names = [name for pair in PAIRS for name in pair]  # partners side by side, so that reversals lie beside the diagonal
    order = [scores.class_names.index(name) for name in names]
    buffer = io.BytesIO()
    save_confusion(scores.confusion[np.ix_(order, order)], names, buffer)
    return buffer.getvalue()


def _filmstrip(result: Result) -> str:
    prediction = result.predictions["TEINet"]
    indices = prediction.frame_indices.reshape(-1)
    frames = read_clip(result.clip, lambda n: indices)
    cells = "".join(
        f"<figure><img src='{_inline(_png(picture), 'image/png')}' alt=''><figcaption>{second:.2f} s</figcaption></figure>"
        for picture, second in zip(frames.data, frames.times)
    )
    return f"<div class=film>{cells}</div>"


def _png(picture: torch.Tensor) -> bytes:
    from torchvision.io import encode_png

    return bytes(encode_png(picture.permute(2, 0, 1).contiguous()).numpy())


def _answers(network: str, prediction: Prediction) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{percent(score)}<td><span class=bar style='width:{7 * score:.2f}rem'></span>"
        for name, score in prediction.labels
    )
    return f"<div class=card>{html.escape(network)}<table>{rows}</table></div>"
