"""Measures the systems with kernels over space and time apart: python -m benchmarks.systems [--rounds 5] [--training].

Each network runs as published, with torch's 3-D layers, and with the layers of `teinet.models.systems.layout`, which
compute in 2-D: the same weights and outputs, one clip, in turns. Writes results/systems-STEP-MACHINE.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.naming import machine_name
from teinet.models import create_model
from teinet.models.systems import layout
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
CLIPS = {  # frames and pixels
    "slowfast_resnet50_4x16": (32, 224),
    "i3d_resnet50_8x8": (8, 224),
    "r2plus1d_18": (16, 112),
    "s3d": (16, 224),
    "p3d_63": (16, 160),
}
_PUBLISHED = {layout.Conv3d: nn.Conv3d, layout.MaxPool3d: nn.MaxPool3d, layout.BatchNorm3d: nn.BatchNorm3d}


def as_published(net: nn.Module) -> nn.Module:
    """Return a copy of a network whose layers are torch's, in torch's own order of memory."""
    plain = copy.deepcopy(net)
    for module in plain.modules():
        module.__class__ = _PUBLISHED.get(type(module), type(module))
    for parameter in plain.parameters():
        parameter.data = parameter.data.contiguous()
    return plain


def measure(name: str, rounds: int, *, training: bool) -> dict[str, object]:
    """Return the milliseconds of both forms, and the median of their ratios."""
    frames, size = CLIPS[name]
    torch.manual_seed(0)
    ours = create_model(name, num_classes=400, num_frames=frames, dropout=0).cnn.train(training)
    plain = as_published(ours)
    images = torch.rand(frames, 3, size, size).contiguous(memory_format=torch.channels_last)
    clip = layout.to_clips(images, 1)
    inputs = {"published": clip.contiguous(), "in 2-D": clip}
    nets: dict[str, layout.ClipNetwork] = {"published": plain, "in 2-D": ours}  # pyright: ignore

    def run(form: str) -> Tensor:
        if not training:
            with torch.inference_mode():
                return nets[form].classify(inputs[form])
        nets[form].zero_grad()
        out = nets[form].classify(inputs[form])
        out.logsumexp(1).sum().backward()
        return out.detach()

    one, other = run("published"), run("in 2-D")
    limit = 5e-3 if training else 5e-4  # sums over a batch in another order, through all norms
    assert (one - other).abs().max() < limit * one.std(), f"{name}: the outputs differ"
    times: dict[str, list[float]] = {form: [] for form in nets}
    for _ in range(rounds):
        for form, each in times.items():
            began = time.perf_counter()
            run(form)
            each.append(1000 * (time.perf_counter() - began))
    ratios = [ours / published for published, ours in zip(*times.values())]
    found = {form: {"median": median(t), "low": min(t), "high": max(t)} for form, t in times.items()}
    return {**found, "ratio": median(ratios), "ratios": [min(ratios), max(ratios)]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--training", action="store_true", help="forward and backward")
    parser.add_argument("--networks", nargs="+", default=list(CLIPS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    facts, found = machine(), {}
    for name in args.networks:
        found[name] = each = measure(name, args.rounds, training=args.training)
        forms = "  ".join(f"{form} {each[form]['median']:.0f} ms" for form in ("published", "in 2-D"))  # pyright: ignore
        print(f"{name:<26} {forms}  ratio {each['ratio']:.2f}", flush=True)
    step = "training" if args.training else "forward"
    path = RESULTS / f"systems-{step}-{machine_name(facts)}.json"
    path.write_text(
        json.dumps({"machine": facts, "threads": args.threads, "step": step, "networks": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
