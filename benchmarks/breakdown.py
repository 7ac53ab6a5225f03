"""Says where the time of a pass goes, by operator: python -m benchmarks.breakdown [NETWORK ...]

Each network runs eager, in turns, in one process: once for its time, and once more under torch's profiler, whose
figures are each operator's own milliseconds (medians over the rounds). "temporal" is the time inside the temporal
modules, Python's share of it included. Writes results/breakdown-MACHINE.json. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.profiler import profile

from benchmarks.naming import machine_name
from teinet.cli.memory import keep_freed_memory
from teinet.evaluation.speed import Timing
from teinet.models.factory import create_model
from teinet.models.insertion import temporal_modules
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("tsn_resnet50", "teinet_resnet50", "tsn_mobilenetv2_100", "teinet_mobilenetv2_100")
SHOWN = 8


def time_calls(module: nn.Module, into: list[float]) -> None:
    forward = module.forward

    def timed(x: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        y = forward(x)
        into.append(time.perf_counter() - began)
        return y

    module.forward = timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="our names: a prefix and timm's name")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    keep_freed_memory()  # as the commands do
    networks = {n: create_model(n, num_classes=400, num_frames=args.frames).eval() for n in args.networks}
    clips = torch.randint(0, 256, (1, args.frames, 3, args.size, args.size), dtype=torch.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    temporal: dict[str, list[float]] = {name: [] for name in networks}
    inside: list[float] = []
    for network in networks.values():
        for module in temporal_modules(network):
            time_calls(module, inside)
    operators: dict[str, dict[str, list[float]]] = {name: {} for name in networks}
    with torch.inference_mode():
        for turn in range(args.rounds + 1):
            for name, network in networks.items():
                inside.clear()
                began = time.perf_counter()
                network(clips)
                took, within = time.perf_counter() - began, sum(inside)
                with profile() as seen:
                    network(clips)
                if not turn:
                    continue
                seconds[name].append(took)
                temporal[name].append(within)
                for event in seen.key_averages():
                    operators[name].setdefault(event.key, []).append(event.self_cpu_time_total / 1e3)
    results = {}
    for name in networks:
        each = {key: round(median(found), 2) for key, found in operators[name].items()}
        each = dict(sorted(each.items(), key=lambda item: -item[1])[:SHOWN])
        results[name] = {
            "ms": [round(1e3 * value, 1) for value in Timing.of(seconds[name])],
            "temporal_ms": round(1e3 * median(temporal[name]), 2),
            "operators_ms": each,
        }
        print(name, results[name], flush=True)
    facts = machine()
    target = Path(args.output) / f"breakdown-{args.machine or machine_name(facts)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": facts, "rounds": args.rounds, "results": results}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
