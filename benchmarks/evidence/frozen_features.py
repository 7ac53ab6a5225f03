"""What else a frozen network tells:
python -m benchmarks.evidence.frozen_features LIST --group COLUMN --backbone-weights FILE

The means of a clip's features, and what changes between frames, of other layers than the last, over longer gaps, as
square roots, and of all layers together; and of the last one, next to those of the frames, those of images of what
moves: each with a linear head by nested folds that keep groups whole, as `teinet probe` measures its own heads. Frames
as in a probe. Writes ../results/evidence/frozen_features-NAME.json, NAME being the folder of LIST, and prints a table.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, pstdev

import numpy as np
import torch
from rich.progress import track

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.rows import ClipList
from teinet.data.lists.splits import load_splits
from teinet.data.sampling import Sampling, typical_whole_frame
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import load_views
from teinet.models.classifier import as_clips
from teinet.models.factory import create_model
from teinet.probing.nested_folds import compare
from teinet.probing.probe_job import SHORT_SIDE, ProbeSettings
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent.parent / "results" / "evidence"
GAPS = (1, 2, 4)  # frames between which changes are seen
LAYERS = {"res3": "blocks.2", "res4": "blocks.4", "res5": "blocks.6", "last": "bn2"}  # of EfficientNet-Lite0


def _median(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.median(1, keepdim=True).values


def _before(pixels: torch.Tensor) -> torch.Tensor:
    return torch.cat([pixels[:, 1:2], pixels[:, :-1]], 1)


MOVING = {  # of pixels (1, T, 3, H, W) from 0 to 255
    "from the frame before, on gray": lambda x: x - _before(x) + 128,
    "from the frame before, absolute, doubled": lambda x: (x - _before(x)).abs() * 2,
    "from the median frame, on gray": lambda x: x - _median(x) + 128,
    "from the median frame, doubled, on gray": lambda x: 2 * (x - _median(x)) + 128,
    "from the median frame, absolute": lambda x: (x - _median(x)).abs(),
    "from the median frame, absolute, doubled": lambda x: (x - _median(x)).abs() * 2,
    "from the mean frame, on gray": lambda x: x - x.mean(1, keepdim=True) + 128,
    "from the first frame, on gray": lambda x: x - x[:, :1] + 128,
}


def summaries(clips: ClipList, frames: int, backbone_weights: str) -> dict[str, np.ndarray]:
    """Return by layer and kind: "res3 mean", (N, C); "res3 gap 1", (N, 2 C), changes at each place and of the mean."""
    backbone = ProbeSettings.backbone
    model = create_model(f"tsn_{backbone}", num_classes=1, num_frames=frames, backbone_weights=backbone_weights).eval()
    size = typical_whole_frame(clips, SHORT_SIDE)
    preprocessing = Preprocessing(size=size, short_side=min(size), fit="squash", **model.data_config)
    maps: dict[str, torch.Tensor] = {}
    for name, place in LAYERS.items():
        model.cnn.get_submodule(place).register_forward_hook(lambda _, __, out, name=name: maps.update({name: out}))
    found = defaultdict(list)
    for i in track(range(len(clips)), "features"):
        loaded = load_views(clips.paths[i], Sampling(num_frames=frames), preprocessing, "1x1", *clips.span(i))
        pixels = as_clips(loaded.frames)
        with torch.inference_mode():
            model(pixels)
        for name, out in maps.items():
            found[f"{name} mean"].append(out.mean((0, 2, 3)))
            for gap in GAPS:
                found[f"{name} gap {gap}"].append(_changes(out, gap))
        for name, form in MOVING.items():
            with torch.inference_mode():
                model(form(pixels.float()).clamp(0, 255).byte())
            found[name].append(torch.cat([maps["last"].mean((0, 2, 3)), _changes(maps["last"], 1)]))
    return {name: torch.stack(rows).numpy() for name, rows in found.items()}


def _changes(maps: torch.Tensor, gap: int) -> torch.Tensor:
    """Return what changes over `gap` frames of maps (T, C, H, W): at each place, and of the means, (2 C)."""
    means = maps.mean((2, 3))
    changes = (maps[gap:] - maps[:-gap]).abs().mean((0, 2, 3))
    return torch.cat([changes, (means[gap:] - means[:-gap]).abs().mean(0)])


def candidates(known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a linear head sees, (N, D), by its description."""

    def joined(*names: str) -> np.ndarray:
        return np.concatenate([known[name] for name in names], 1)

    gaps = [f"gap {gap}" for gap in GAPS]
    found = {f"{layer}, mean and changes": joined(f"{layer} mean", f"{layer} gap 1") for layer in LAYERS}
    found |= {f"{layer}, changes alone": known[f"{layer} gap 1"] for layer in LAYERS}
    for layer in LAYERS:
        found[f"{layer}, changes over 1, 2 and 4 frames"] = joined(*(f"{layer} {gap}" for gap in gaps))
    found["all four, mean and changes"] = joined(*(f"{layer} {x}" for layer in LAYERS for x in ("mean", "gap 1")))
    found["all four, changes over 1, 2 and 4 frames"] = joined(*(f"{layer} {gap}" for layer in LAYERS for gap in gaps))
    plain = found["last, mean and changes"]
    found["last, mean and changes, their square roots"] = np.sign(plain) * np.sqrt(np.abs(plain))
    for name in MOVING:
        found[f"last, mean and changes; also of differences {name}"] = np.concatenate([plain, known[name]], 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--backbone-weights", required=True, help="timm's tf_efficientnet_lite0.in1k")
    parser.add_argument("--frames", type=int, nargs="+", default=[16])
    args = parser.parse_args()
    clips = load_splits(DataConfig(path=str(args.list), group=args.group, val_share=0.0))["train"]
    rows = []
    for frames in args.frames:
        for name, values in candidates(summaries(clips, frames, args.backbone_weights)).items():
            each = compare({name: values}, clips.labels, np.array(clips.groups)).nested
            rows.append({"frames": frames, "features": name, "nested": [round(x, 4) for x in each]})
            print(f"| {frames} | {name} | {100 * mean(each):.1f} ± {100 * pstdev(each):.1f} |", flush=True)
    said = {"machine": machine(), "clips": len(clips), "group": args.group, "rows": rows}
    (RESULTS / f"frozen_features-{args.list.parent.name}.json").write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
