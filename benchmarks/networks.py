"""Measures what the networks cost: python benchmarks/networks.py [SET ...]

Writes results/networks-SET-MACHINE.json and .png with the machine, the date and the versions. Let nothing else run
meanwhile. Sets: resnet50 (every form, beside TSM as its authors and TEI as a textbook write it, TSN twice), frames (8
and 16, latency and throughput), pair (TSN, TEINet and TSN again in plain torch: few enough for many fresh processes),
backbones, training, peers; on a GPU also gpu (batch 1 and 64, bf16).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from teinet.benchmark.contenders import Contender
from teinet.benchmark.networks import Cost, benchmark_networks
from teinet.benchmark.picture import draw_costs
from teinet.benchmark.throughput import Spread
from teinet.kernels import available_forms
from teinet.models.optimized import native_precision
from teinet.utils.machine import machine, machine_name

RESULTS = Path(__file__).parent / "results"
OURS = ("tsn", "tsm", "tim", "teinet")
SETS = ("resnet50", "pair", "frames", "backbones", "training", "peers", "gpu")


def contenders(name: str, device: torch.device) -> list[Contender]:
    native = native_precision(device)
    if name == "resnet50":
        forms = [("eager", "fp32"), ("folded", "fp32"), ("inductor", "fp32"), ("compiled", "fp32")]
        forms += [(engine, native) for engine in ("folded", "compiled") if native != "fp32"]
        found = [Contender(network=n, engine=engine, precision=p) for engine, p in forms for n in OURS]
        others = ("tsm-authors", "teinet-textbook", "tsn")  # a second TSN shows what differs between processes alone
        return [*found, *(Contender(network=n) for n in others)]
    if name == "pair":
        return [Contender(network=n) for n in ("tsn", "teinet", "tsn")]
    if name == "frames":
        return [Contender(network=n, num_frames=t) for t in (8, 16) for n in OURS]
    if name == "backbones":
        backbones = ("resnet18", "mobilenetv2_100", "efficientnet_lite0")
        return [
            Contender(network=n, backbone=b, engine=e)
            for b in backbones
            for e in ("eager", "compiled")
            for n in ("tsn", "teinet", "tsn")
        ]
    if name == "training":
        again = [Contender(network="teinet", checkpointing=what) for what in ("temporal", "blocks")]
        return [*(Contender(network=n) for n in OURS), *again]
    if name == "peers":
        peers = {"r2plus1d_18": (16, 112), "mc3_18": (16, 112), "r3d_18": (16, 112), "s3d": (16, 224)}
        found = [Contender(network=n, num_frames=8) for n in ("tsn", "teinet")]
        return [*found, *(Contender(network=n, backbone="", num_frames=t, size=s) for n, (t, s) in peers.items())]
    half = [Contender(network=n, engine=e, precision="bf16") for e in ("folded", "compiled") for n in OURS]
    return [*half, *(Contender(network=n) for n in OURS)]


def over(
    costs: list[Cost], ours: dict[str, str], theirs: dict[str, str], measure: str = "latency"
) -> list[float] | None:
    """Time of one network over another's, round by round: median, lowest, highest."""

    def find(wanted: dict[str, str]) -> Cost | None:
        fits = [c for c in costs if all(getattr(c.contender, key) == value for key, value in wanted.items())]
        return fits[0] if fits and fits[0].seconds.get(measure) else None

    first, second = find(ours), find(theirs)
    if first is None or second is None:
        return None
    pairs = zip(first.seconds[measure], second.seconds[measure])
    return [round(value, 4) for value in Spread.of([a / b for a, b in pairs])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=[], metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="of it all, with fresh processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the files'; by default its processor and cores")
    args = parser.parse_args()
    device = torch.device(args.device)
    measures = {
        "frames": ("latency", "throughput"),
        "training": ("training",),
        "gpu": ("latency", "throughput", "training"),
    }
    sizes = {"latency": 1, "throughput": 64 if device.type == "cuda" else 16, "training": 1}
    for name in args.sets or [name for name in SETS if name != "gpu" or device.type == "cuda"]:
        costs = benchmark_networks(
            contenders(name, device),
            measures=measures.get(name, ("latency",)),
            rounds=args.rounds,
            repeats=args.repeats,
            batch_sizes=sizes,
            device=args.device,
            say=lambda text, where=name: print(f"{where}: {text}", flush=True),
        )
        facts, native = machine(), native_precision(device)
        pairs = {}
        if name == "resnet50":
            eager = {"network": "teinet", "engine": "eager"}
            fastest = {"network": "teinet", "engine": "compiled", "precision": "fp32"}
            authors = {"network": "tsm-authors"}
            pairs = {
                "teinet eager / tsm-authors eager": over(costs, eager, authors),
                "teinet compiled / tsm-authors eager": over(costs, fastest, authors),
                "teinet eager / teinet-textbook eager": over(costs, eager, {"network": "teinet-textbook"}),
            }
            if native != "fp32":
                half = {**fastest, "precision": native}
                pairs[f"teinet compiled {native} / teinet compiled fp32"] = over(costs, half, fastest)
        target = Path(args.output) / f"networks-{name}-{args.machine or machine_name(facts)}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        result = {
            "machine": facts,
            "device": args.device,
            "kernels": available_forms(),
            "rounds": args.rounds,
            "repeats": args.repeats,
            "batch_sizes": sizes,
            "ratios": pairs,
        }
        target.write_text(json.dumps({**result, "networks": [cost.to_dict() for cost in costs]}, indent=2) + "\n")
        title = f"{facts['processor']}, {facts['cores']} cores, {args.device}"
        draw_costs(costs, title=title, batch_sizes=sizes).savefig(target.with_suffix(".png"))
        print(target, flush=True)


if __name__ == "__main__":
    main()
