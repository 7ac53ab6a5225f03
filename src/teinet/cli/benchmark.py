"""`teinet benchmark`: what networks cost on this machine, next to the paper's Table 2."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from teinet.cli.options import add_optimize_option
from teinet.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from teinet.evaluation.speed import Speed

_DEFAULT = ("tsn_resnet50", "tsm_resnet50", "tim_resnet50", "teinet_resnet50")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add(
        "models", nargs="*", metavar="MODEL", default=list(_DEFAULT),
        help="networks by name (teinet models lists them), weights files, runs or pretrained recognizers "
        "(default: the paper's with ResNet-50)"
    )  # fmt: skip
    add("--frames", type=int, default=8, help="of a clip, for networks by name (default: 8)")
    add("--size", type=int, default=224, help="pixels, for networks by name (default: 224)")
    add("--causal", action="store_true", help="networks by name in their causal form, for live video")
    add("--batch-size", type=int, default=16, help="clips at once for the throughput (default: 16)")
    add("--rounds", type=int, default=5, help="in which each network is timed once (default: 5)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    add_optimize_option(parser)
    add(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32",
        help="below fp32 batch norms are folded too (default: fp32)"
    )  # fmt: skip
    add("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0. Raises TeinetError for a name, file, device or number that cannot be used."""
    from rich.console import Console

    from teinet.evaluation.speed import measure_speed
    from teinet.utils.machine import find_device, machine
    from teinet.utils.progress import file_progress

    for name, low in (("frames", 1), ("size", 32), ("batch_size", 1), ("rounds", 1)):
        if (value := getattr(args, name)) < low:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be at least {low}")
    device = find_device(args.device)
    if device.type == "mps":
        raise ConfigError("benchmark measures on cpu and cuda; add --device cpu")
    networks = [_load(name, device, args) for name in args.models]
    facts = machine()
    passes = (args.rounds + 1) * len(networks) * len({1, args.batch_size})
    with file_progress(Console(stderr=True), "measuring", passes, unit="passes") as advance:
        measure_speed(networks, batch_size=args.batch_size, rounds=args.rounds, say=advance)
    form = f"{args.optimize or ('eager' if args.precision == 'fp32' else 'folded')}, {args.precision}"
    if args.json:
        settings = {"device": str(device), "form": form, "batch_size": args.batch_size, "rounds": args.rounds}
        found = [network.to_dict(args.batch_size) for network in networks]
        print(json.dumps({"machine": facts, **settings, "models": found}, indent=2))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    where = _gpu(device) or f"{facts['processor']}, {facts['cores']} cores"
    console.print(f"{where}; PyTorch {facts['versions']['torch']}; {form}; {args.rounds} rounds", markup=False)
    table = _table(networks, args.batch_size)
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table)
    console.print("Medians, lowest and highest round. Peak: memory beyond what was in use before a pass.", style="dim")
    if any(network.published for network in networks):
        console.print("Paper: Table 2, on a Tesla P100, throughput in batches of 16.", style="dim")
    return 0


def _load(name: str, device: torch.device, args: argparse.Namespace) -> Speed:
    """Build a network by its name, or load a recognizer."""
    from teinet.evaluation.speed import Speed
    from teinet.models.factory import create_model
    from teinet.models.names import PREFIXES
    from teinet.models.optimized import optimize
    from teinet.recognition import Recognizer

    if name.startswith(tuple(PREFIXES)):
        model = create_model(name, num_classes=400, num_frames=args.frames, causal=args.causal)
        model, size = model.to(device).eval(), (args.size, args.size)
    else:
        recognizer = Recognizer.load(name, device=device)
        model, size = recognizer.model, recognizer.preprocessing.shape
    network = Speed.of(name, model, size)
    if args.optimize or args.precision != "fp32":
        network.model = optimize(model, engine=args.optimize or "folded", precision=args.precision)
    return network


def _gpu(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def _table(networks: list[Speed], batch_size: int) -> Table:
    from teinet.utils.tables import plain_table

    paper = any(network.published for network in networks)
    heads = ["model", "clip", "params", "GMACs", "ms, one clip", "peak MB", f"clips/s, {batch_size} at once", "peak MB"]
    table = plain_table(*heads, *(("paper: ms", "clips/s") if paper else ()), text=["model"])
    for column in table.columns:
        column.no_wrap = True
    for network in networks:
        latency, throughput = network.latency(), network.throughput(batch_size)
        memory = ["" if peak != peak else f"{peak:.0f}" for peak in (network.peak_mb[1], network.peak_mb[batch_size])]
        height, width = network.size
        table.add_row(
            network.name,
            f"{network.model.num_frames} x {height}x{width}",
            f"{network.parameters / 1e6:.1f} M",
            f"{network.macs / 1e9:.2f}",
            "{:.1f} ({:.1f}-{:.1f})".format(*latency),
            memory[0],
            "{:.1f} ({:.1f}-{:.1f})".format(*throughput),
            memory[1],
            *([f"{value:.1f}" for value in network.published or ()] or (["", ""] if paper else [])),
        )
    return table
