"""`teinet benchmark`: what networks cost on this machine, next to the paper's Table 2."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.options import DEVICE, ENGINE, PRECISION, Engine, Precision, check_range, check_weights
from teinet.cli.parser import option, positional
from teinet.errors import ConfigError
from teinet.models.names import check_backbone, is_model, list_models, usual_clip
from teinet.utils.machine import check_device

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from teinet.evaluation.speed import Speed

_DEFAULT = ["tsn_resnet50", "tsm_resnet50", "tim_resnet50", "teinet_resnet50"]


@dataclass(kw_only=True)
class BenchmarkOptions:
    """Measure what networks cost on this machine, next to the paper's Table 2.

    teinet benchmark
    teinet benchmark teinet_mobilenetv2_100 fights --engine compile --precision bf16
    """

    models: list[str] = positional(
        "networks by name (teinet models lists them), runs, weights files or pretrained models", metavar="MODEL",
        default=_DEFAULT,
    )  # fmt: skip
    frames: int | None = option("of a clip, for networks by name (default: 8, or the system's own)")
    size: int | None = option("pixels, for networks by name (default: 224, or the system's own)")
    causal: bool = option("networks by name in their causal form, for live video", default=False)
    batch_size: int = option("clips at once for the throughput", default=16)
    rounds: int = option("each network is timed once in each", default=5)
    device: str = option(DEVICE, default="auto")
    engine: Engine = option(ENGINE, default="eager")
    precision: Precision = option(PRECISION, default="auto")
    json: bool = option("print the numbers as JSON", default=False)


def run(args: BenchmarkOptions) -> int:
    """Measure and print; return 0. Raises TeinetError for a name, file, device or number that cannot be used."""
    check_device(args.device)
    check_range(args, frames=1, size=32, batch_size=1, rounds=1)
    for name in args.models:
        if not is_model(name):
            if not Path(name).exists() and list_models(f"tsn_{name}"):
                raise ConfigError(f"{name} is a backbone; add a prefix, such as tsn_{name} or teinet_{name}")
            check_weights(name)
        check_backbone(name)
    from rich.console import Console

    from teinet.evaluation.speed import measure_speed
    from teinet.utils.machine import find_device, machine
    from teinet.utils.progress import file_progress

    device = find_device(args.device)
    if device.type == "mps":
        raise ConfigError("benchmark measures on cpu and cuda; add --device cpu")
    networks = [_load(name, device, args) for name in args.models]
    facts = machine()
    passes = (args.rounds + 1) * len(networks) * len({1, args.batch_size})
    with file_progress(Console(stderr=True), "measuring", passes, unit="passes") as advance:
        measure_speed(networks, batch_size=args.batch_size, rounds=args.rounds, progress=advance)
    form = next((str(n.model.optimization) for n in networks if hasattr(n.model, "optimization")), "eager, fp32")
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


def _load(name: str, device: torch.device, args: BenchmarkOptions) -> Speed:
    """Build a network by its name, or load a recognizer."""
    from teinet.evaluation.speed import Speed
    from teinet.models.factory import create_model
    from teinet.models.optimized import optimize
    from teinet.recognition import Recognizer

    if is_model(name):
        model = create_model(name, num_classes=400, num_frames=args.frames, causal=args.causal)
        side = args.size or usual_clip(name)[1]
        model, size = model.to(device).eval(), (side, side)
    else:
        recognizer = Recognizer.load(name, device=device)
        model, size = recognizer.model, recognizer.preprocessing.shape
    network = Speed.of(name, model, size)
    network.model = optimize(model, engine=args.engine, precision=args.precision)
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
