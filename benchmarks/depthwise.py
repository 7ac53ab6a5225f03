"""Measures a training step of an EfficientNet on a CPU with and without the fast depthwise backward pass, in turns:
python benchmarks/depthwise.py

The network and the clips are those of recipes/small_data.yaml. Writes results/depthwise-MACHINE.json. Let nothing else
run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from teinet.benchmark.machine import machine, machine_name
from teinet.benchmark.throughput import Spread
from teinet.kernels import FastDepthwise
from teinet.memory import keep_freed_memory
from teinet.models import create_model

RESULTS = Path(__file__).parent / "results"
NAME, FRAMES, SIZE = "teinet_tf_efficientnet_lite0", 8, 112


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="one a process, as a study with two jobs runs")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    model = create_model(NAME, num_classes=27, num_frames=FRAMES, shortcut_only=False).train()
    clips = torch.randn(options.batch, FRAMES, 3, SIZE, SIZE)
    labels = torch.randint(27, (options.batch,))

    def seconds(context: AbstractContextManager) -> float:
        began = time.perf_counter()
        with context:
            cross_entropy(model(clips), labels).backward()
        model.zero_grad()
        return time.perf_counter() - began

    rounds = [(seconds(nullcontext()), seconds(FastDepthwise())) for _ in range(options.rounds + 2)][2:]
    facts = machine()
    found = {
        "machine": facts,
        "network": NAME,
        "batch": options.batch,
        "threads": options.threads,
        "plain_seconds": Spread.of([plain for plain, _ in rounds])._asdict(),
        "fast_seconds": Spread.of([fast for _, fast in rounds])._asdict(),
        "ratio": Spread.of([fast / plain for plain, fast in rounds])._asdict(),
    }
    target = RESULTS / f"depthwise-{machine_name(facts)}.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: found[name] for name in ("plain_seconds", "fast_seconds", "ratio")}, indent=2))
    print(target)


if __name__ == "__main__":
    main()
