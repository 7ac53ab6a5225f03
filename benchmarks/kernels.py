"""Measures the operators by themselves, against the machine's own copy: python -m benchmarks.kernels

For each activation of ResNet-50's blocks: forward and backward of each form, next to a copy of the same tensor, in
turns, of the temporal operator with a given gate, and of the whole TEI module. Share: the bytes that the pass must move
(forward: read x, the module twice, and write y; backward: read x and dy, write dx), over its time, of what the copy
moves a second. Writes results/kernels-MACHINE.json. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.naming import machine_name
from teinet.evaluation.speed import Timing
from teinet.kernels import available_forms, temporal_conv, use_form
from teinet.layers import TEI, TIM
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
BLOCKS = ((64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7))  # channels, side
FRAMES = 8
MOVED = {"forward": 2, "backward": 3, "module forward": 3, "module backward": 3}  # times the activation's bytes
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def timer(device: torch.device) -> Callable[[Callable[[], object]], float]:
    def on_cpu(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def on_cuda(work: Callable[[], object]) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    return on_cuda if device.type == "cuda" else on_cpu


def measure(channels: int, side: int, clips: int, dtype: torch.dtype, device: torch.device, rounds: int) -> dict:
    x = torch.randn(clips * FRAMES, channels, side, side, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    dy, target = torch.randn_like(x), torch.empty_like(x)
    weight = torch.randn(channels, 3, device=device, requires_grad=True)
    gate = torch.rand(clips * FRAMES, channels, device=device, requires_grad=True)
    works: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(x.detach())}
    forms = [form for form in available_forms() if form != ("cpu" if device.type == "cuda" else "triton")]
    tim = TIM(channels, num_frames=FRAMES).to(device=device, dtype=dtype)  # the reference
    tei = TEI(channels, num_frames=FRAMES).to(device=device, dtype=dtype)

    def run(form: str) -> torch.Tensor:
        if form == "reference":
            return tim(x * gate.to(dtype)[:, :, None, None])
        return temporal_conv(x, weight, gate, num_frames=FRAMES)

    def add(form: str, prefix: str, call: Callable[[], torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> None:
        with use_form(form):
            result = call()

        def forward() -> None:
            with torch.no_grad():
                call()

        works[f"{form} {prefix}forward"] = forward
        works[f"{form} {prefix}backward"] = lambda: torch.autograd.grad(result, inputs, dy, retain_graph=True)

    for form in forms:
        add(form, "", lambda form=form: run(form), (x, tim.weight if form == "reference" else weight, gate))
        add(form, "module ", lambda: tei(x), (x, *tei.parameters()))
    seconds: dict[str, list[float]] = {name: [] for name in works}
    clock = timer(device)
    for turn in range(rounds + 2):
        for name, work in works.items():
            with use_form(name.split()[0]) if name != "copy" else use_form(forms[0]):
                found = clock(work)
            if turn > 1:
                seconds[name].append(found)
    size = x.numel() * x.element_size()
    copied = 2 * size / Timing.of(seconds["copy"]).median
    told: dict = {"channels": channels, "side": side, "clips": clips, "copy_gb_per_second": round(copied / 1e9, 2)}
    for name, found in seconds.items():
        spread = Timing.of(found)
        moved = MOVED.get(name.partition(" ")[2], 2) * size
        told[name] = {
            "ms": [round(1e3 * value, 4) for value in spread],
            "share_of_copy": round(moved / spread.median / copied, 3),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1])
    parser.add_argument("--types", nargs="+", choices=TYPES, default=["fp32"])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    device, results = torch.device(args.device), []
    keep_freed_memory()  # as the commands do
    for clips in args.clips:
        for name in args.types:
            for channels, side in BLOCKS:
                found = {"type": name, **measure(channels, side, clips, TYPES[name], device, args.rounds)}
                results.append(found)
                shares = {
                    key: f"{v['ms'][0]} ms {v['share_of_copy']}" for key, v in found.items() if isinstance(v, dict)
                }
                print(name, f"{clips}x{FRAMES}x{channels}x{side}x{side}", shares, flush=True)
    facts = machine()
    target = Path(args.output) / f"kernels-{args.machine or machine_name(facts)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": facts, "device": args.device, "results": results}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
