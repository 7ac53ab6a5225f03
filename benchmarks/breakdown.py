"""Says where the time of a pass goes, form by form: python -m benchmarks.breakdown [--backbones NAME ...]

TSN and TEINet of a backbone run in turns in one process, in every form that the machine has: for their time, and then
under torch's profiler, whose figures are each operator's own milliseconds (medians over the rounds). Next to the
temporal modules' time stands the least that they could take: each activation read once to be pooled, and read and
written once to be mixed, at the speed at which torch copies a tensor of that size. What of the difference between the
two networks is neither is the calls (Python, conversions) and what the convolutions lose of their caches.

Writes results/breakdown-MACHINE.json. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import profile

from benchmarks.contenders import Contender, build
from benchmarks.naming import machine_name
from teinet.evaluation.speed import Timing
from teinet.models.insertion import temporal_modules
from teinet.models.optimized import DTYPES, forms
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # of the profiler, which writes lines of its own
RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
SHOWN = 8


def milliseconds(call: Callable[[], Any], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return found[2:]


def floor(network: nn.Module, clips: Tensor, dtype: torch.dtype, rounds: int) -> float:
    """The least that the temporal modules could take, ms: one and a half copies of each activation."""
    shapes: list[torch.Size] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
        for module in temporal_modules(network)
    ]
    network(clips)
    for handle in handles:
        handle.remove()
    copies = {}
    for shape in dict.fromkeys(shapes):
        x = torch.zeros(shape, dtype=dtype)
        copies[shape] = median(milliseconds(x.clone, rounds))
    return 1.5 * sum(copies[shape] for shape in shapes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "mobilenetv2_100"], metavar="NAME")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    keep_freed_memory()  # as the commands do
    clips = torch.randint(0, 256, (1, args.frames, 3, args.size, args.size), dtype=torch.uint8)
    results = []
    for backbone in args.backbones:
        settings = {"backbone": backbone, "num_frames": args.frames, "size": args.size}
        plain = build(Contender(network="teinet", **settings), CPU)
        for engine, precision in forms(CPU):
            networks = {
                name: build(Contender(network=name, engine=engine, precision=precision, **settings), CPU)
                for name in ("tsn", "teinet")
            }
            with torch.inference_mode():
                found = measure(networks, clips, args.rounds)
                found["floor_ms"] = round(floor(plain, clips, DTYPES[precision], args.rounds), 2)
            results.append({"backbone": backbone, "engine": engine, "precision": precision, **found})
            print(results[-1], flush=True)
    facts = machine()
    target = Path(args.output) / f"breakdown-{args.machine or machine_name(facts)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": facts, "rounds": args.rounds, "results": results}, indent=2) + "\n")
    print(target)


def measure(networks: dict[str, nn.Module], clips: Tensor, rounds: int) -> dict[str, Any]:
    """Times of both networks, round by round, and of their operators; `temporal_ms` is that of the modules' own."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    operators: dict[str, dict[str, list[float]]] = {name: {} for name in networks}
    for turn in range(rounds + 1):
        for name, network in networks.items():
            began = time.perf_counter()
            network(clips)
            took = 1e3 * (time.perf_counter() - began)
            with profile() as seen:
                network(clips)
            if not turn:
                continue
            seconds[name].append(took)
            for event in seen.key_averages():
                operators[name].setdefault(event.key, []).append(event.self_cpu_time_total / 1e3)
    own = {name: {key: round(median(times), 2) for key, times in each.items()} for name, each in operators.items()}
    return {
        **{f"{name}_ms": [round(value, 1) for value in Timing.of(times)] for name, times in seconds.items()},
        "ratio": round(median(ours / plain for ours, plain in zip(seconds["teinet"], seconds["tsn"])), 3),
        "temporal_ms": round(sum(time for key, time in own["teinet"].items() if key.startswith("teinet::")), 2),
        "operators_ms": {
            name: dict(sorted(each.items(), key=lambda item: -item[1])[:SHOWN]) for name, each in own.items()
        },
    }


if __name__ == "__main__":
    main()
