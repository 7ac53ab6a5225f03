"""Measures a training step on a CPU with and without the fast forms of a backbone's own layers, in turns:
python benchmarks/training_cpu.py

"plain" is torch's, "depthwise" has FastDepthwise, "both" has fast_norms too. The clips are those of
recipes/small_data.yaml. Writes results/training_cpu-MACHINE.json. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from teinet.benchmark.machine import machine, machine_name
from teinet.benchmark.throughput import Spread
from teinet.kernels import FastDepthwise, fast_norms
from teinet.models import create_model
from teinet.utils.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
FRAMES, SIZE = 8, 112


def measure(name: str, *, batch: int, rounds: int) -> dict:
    """Seconds of a step in each form, and each form's share of torch's in the same round."""
    model = create_model(name, num_classes=27, num_frames=FRAMES, shortcut_only=False).train()
    clips, labels = torch.randn(batch, FRAMES, 3, SIZE, SIZE), torch.randint(27, (batch,))
    forms = {"plain": [], "depthwise": [FastDepthwise], "both": [FastDepthwise, lambda: fast_norms(model)]}

    def seconds(form: str) -> float:
        began = time.perf_counter()
        with ExitStack() as stack:
            for context in forms[form]:
                stack.enter_context(context())
            cross_entropy(model(clips), labels).backward()
        model.zero_grad()
        return time.perf_counter() - began

    taken = [{form: seconds(form) for form in forms} for _ in range(rounds + 2)][2:]
    return {
        "seconds": {form: Spread.of([each[form] for each in taken])._asdict() for form in forms},
        "ratio": {
            form: Spread.of([each[form] / each["plain"] for each in taken])._asdict() for form in ("depthwise", "both")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["teinet_tf_efficientnet_lite0", "teinet_mobilenetv2_100"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="one a process, as a study with two jobs runs")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    facts = machine()
    found = {"machine": facts, "batch": options.batch, "threads": options.threads, "networks": {}}
    for name in options.networks:
        found["networks"][name] = measured = measure(name, batch=options.batch, rounds=options.rounds)
        print(json.dumps({name: measured["ratio"]}, indent=2))
    target = RESULTS / f"training_cpu-{machine_name(facts)}.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
