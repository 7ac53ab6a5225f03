"""How near fresh networks are to the 2-D network that they start from:
python benchmarks/evidence/fresh.py LIST.csv WEIGHTS

For some clips of the list it prints, by module: where fresh gates lie, with this library's start and as torch draws a
convolution; how alike the last features of each frame are to those without gates (of TSN for MEM, of TIM for the
others; cosine, less their mean); and how large those of the last frame are against the others', which the paper's gate
leaves as it is while it halves them. Batch norms work as in training. Writes ../results/evidence/fresh.json.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.reader import VideoReader
from teinet.layers import MEM, SE
from teinet.models import create_model
from teinet.models.classifier import VideoClassifier, as_clips
from teinet.models.insertion import temporal_modules
from teinet.utils.machine import machine

RESULT = Path(__file__).parent.parent / "results" / "evidence" / "fresh.json"
FRAMES, SIZE = 8, 112
NETWORKS = {
    "MEM": ("mem", {"gate": "paper"}, "tsn"),
    "MEM residual": ("mem", {"gate": "residual"}, "tsn"),
    "SE+TIM": ("se_tim", {}, "tim"),
    "MEM+TIM": ("teinet", {"gate": "paper"}, "tim"),
    "MEM+TIM residual": ("teinet", {"gate": "residual"}, "tim"),
}


def build(kind: str, weights: str, **options: object) -> VideoClassifier:
    torch.manual_seed(0)
    where = {} if kind == "tsn" else {"shortcut_only": False}
    name = f"{kind}_tf_efficientnet_lite0"
    return create_model(name, num_classes=2, num_frames=FRAMES, backbone_weights=weights, **where, **options).train()


def as_torch_draws(model: VideoClassifier) -> VideoClassifier:
    for module in model.modules():
        if isinstance(module, (MEM, SE)):
            (module.conv3 if isinstance(module, MEM) else module.conv2).reset_parameters()
    return model


@torch.no_grad()
def look(model: VideoClassifier, clips: Tensor) -> tuple[Tensor, Tensor]:
    """The features (clips, T, C) before the head, less their mean, and all gates in a row."""
    seen, gates = [], []
    for module in temporal_modules(model):
        gate = next((part for part in module.modules() if isinstance(part, (MEM, SE))), None)
        if gate is not None:
            see = gate.gate if isinstance(gate, MEM) else gate.scale
            module.register_forward_pre_hook(lambda _layer, args, see=see: gates.append(see(args[0]).flatten()))
    model.cnn.global_pool.register_forward_hook(
        lambda _m, _a, out: seen.append(out.flatten(1).unflatten(0, (-1, FRAMES)))
    )
    model(clips)
    return seen[0], torch.cat(gates) if gates else torch.ones(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list")
    parser.add_argument("weights", help="of EfficientNet-Lite0, timm's tf_efficientnet_lite0.in1k")
    parser.add_argument("--clips", type=int, default=16)
    args = parser.parse_args()
    logging.getLogger("teinet").setLevel(logging.ERROR)  # the head is new, ten times
    data = build("tsn", args.weights).data_config
    pixels = Preprocessing(size=SIZE, short_side=128, mean=data["mean"], std=data["std"])
    paths = [path for clips in load_splits(DataConfig(path=args.list)).values() for path in clips.paths]
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, args.clips).astype(int)]
    films = [VideoReader(Path(p)).sample(lambda n: np.linspace(0, n - 1, FRAMES).astype(int)).images for p in chosen]
    clips = as_clips(np.stack([test_crops(film, pixels)[0] for film in films]))
    table = Table(box=SIMPLE_HEAD, title=f"fresh networks on {len(clips)} clips", title_justify="left", pad_edge=False)
    for head in ("network", "start", "gates, 1 to 99 %", "alike", "last frame / others"):
        table.add_column(head, justify="left" if head in ("network", "start") else "right")
    rows: list[dict] = []
    plain = {kind: look(build(kind, args.weights), clips)[0] for kind in ("tsn", "tim")}
    for name, (kind, options, without) in NETWORKS.items():
        for start, change in (("near zero", lambda model: model), ("torch's", as_torch_draws)):
            features, gates = look(change(build(kind, args.weights, **options)), clips)
            centered = (features - features.mean((0, 1)), plain[without] - plain[without].mean((0, 1)))
            alike = torch.cosine_similarity(*centered, dim=-1).mean()
            norms = features.norm(dim=-1).mean(0)
            low, high = np.percentile(gates.numpy(), (1, 99))
            last = norms[-1] / norms[:-1].mean()
            rows.append({"network": name, "start": start, "gates": [float(low), float(high)]})
            rows[-1] |= {"cosine": float(alike), "last_over_others": float(last)}
            table.add_row(name, start, f"{low:.2f} to {high:.2f}", f"{alike:.2f}", f"{last:.1f}")
    Console().print(table)
    RESULT.write_text(json.dumps({"machine": machine(), "clips": len(clips), "networks": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
