"""`teinet bench`: what networks cost on this machine, side by side, and beside the paper's Table 2."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.places import check_file, keep_apart
from teinet.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from teinet.benchmark.contenders import Contender
    from teinet.benchmark.networks import Cost

_MEASURES = ("latency", "throughput", "training")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument(
        "--networks", default="tsn,tsm,tim,teinet", metavar="tsn,teinet,...", help="default: %(default)s"
    )
    parser.add_argument("--backbones", default="resnet50", metavar="NAME,...", help="timm's names (default: resnet50)")
    parser.add_argument("--frames", default="8,16", help="of a clip, one or several numbers (default: 8,16)")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, pixels (default: 224)")
    parser.add_argument(
        "--optimize", dest="engines", default="eager", metavar="eager,folded,compiled",
        help="as trained, with norms folded, compiled too; inductor: as trained, compiled (default: eager)",
    )  # fmt: skip
    parser.add_argument("--precisions", default="fp32", metavar="fp32,bf16,fp16", help="default: fp32")
    parser.add_argument("--causal", action="store_true", help="the causal form, for live video, at whole clips")
    parser.add_argument("--peers", action="store_true", help="also torchvision's 3-D networks, at their own input")
    parser.add_argument("--foreign", action="store_true", help="also TSM as its authors, TEI as a textbook writes it")
    parser.add_argument(
        "--measure", default="latency,throughput", metavar="latency,throughput,training", help="default: %(default)s"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="clips at once for the throughput (default: 16)")
    parser.add_argument("--training-batch-size", type=int, default=1, help="clips of a training step (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="in which each network is timed once (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="of it all, with fresh processes (default: 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--output", default=None, metavar="FILE", help="write the numbers as JSON into a file")
    parser.add_argument("--picture", default=None, metavar="FILE", help="draw them into a .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0, or 1 when some network could not be measured.

    Raises:
        ConfigError: a name or number that cannot be used.
    """
    from rich.console import Console

    from teinet.benchmark.networks import benchmark_networks
    from teinet.kernels import available_forms
    from teinet.recognition.device import find_device
    from teinet.utils.machine import machine

    measures = _words(args.measure, "--measure", _MEASURES)
    measures.sort(key=_MEASURES.index)
    contenders = rows(args)
    for name, value in (
        ("--rounds", args.rounds),
        ("--repeats", args.repeats),
        ("--batch-size", args.batch_size),
        ("--training-batch-size", args.training_batch_size),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    device = find_device(args.device)
    if device.type not in ("cpu", "cuda"):
        if args.device != "auto":
            raise ConfigError(f"--device {args.device}: only cpu and cuda are measured")
        device = find_device("cpu")
    for path in filter(None, (args.output, args.picture)):
        check_file(path)
    keep_apart({"--output": args.output, "--picture": args.picture}, ())
    if args.picture and Path(args.picture).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--picture {args.picture}: its name must end in .png, .svg or .pdf")
    sizes = {"latency": 1, "throughput": args.batch_size, "training": args.training_batch_size}
    with Console(stderr=True).status("") as status:
        costs = benchmark_networks(
            contenders,
            measures=measures,
            rounds=args.rounds,
            repeats=args.repeats,
            batch_sizes=sizes,
            device=str(device),
            say=status.update,
        )
    facts = {"machine": machine(), "device": str(device), "kernels": available_forms()}
    facts |= {"rounds": args.rounds, "repeats": args.repeats, "batch_sizes": sizes}
    report = json.dumps({**facts, "networks": [cost.to_dict() for cost in costs]}, indent=2)
    if args.output:
        Path(args.output).write_text(report + "\n")
    if args.json:
        print(report)
    else:
        show(Console(highlight=False, soft_wrap=True), costs, measures, sizes)
    if args.picture and any(cost.seconds for cost in costs):
        from teinet.benchmark.picture import draw_costs

        title = f"{facts['machine']['processor']}, {facts['machine']['cores']} cores, {device}"
        draw_costs(costs, title=title, batch_sizes=sizes).savefig(args.picture)
    return int(any(cost.failed for cost in costs))


def rows(args: argparse.Namespace) -> list[Contender]:
    """The networks that the options name; each group begins with its TSN, with which the others are compared."""
    from teinet.benchmark.contenders import ENGINES, FOREIGN, PEERS, Contender
    from teinet.models.optimized import DTYPES

    try:
        frames = [int(number) for number in args.frames.split(",")]
    except ValueError:
        raise ConfigError(f"--frames {args.frames!r}: write numbers with commas between them, such as 8,16") from None
    found = []
    for engine in _words(args.engines, "--optimize", ENGINES):
        for precision in _words(args.precisions, "--precisions", tuple(DTYPES)):
            if precision != "fp32" and engine in ("eager", "inductor"):
                continue
            form = {"engine": engine, "precision": precision}
            for backbone in _words(args.backbones, "--backbones"):
                networks = _words(args.networks, "--networks")
                if args.foreign and not args.causal and engine == "eager" and precision == "fp32":
                    networks += [foreign for ours, foreign in FOREIGN.items() if ours in networks]
                found += [
                    Contender(
                        network=network,
                        backbone=backbone,
                        num_frames=number,
                        size=args.size,
                        causal=args.causal,
                        **form,
                    )
                    for number in frames
                    for network in networks
                ]
            if args.peers and engine != "folded":
                found += [
                    Contender(network=peer, backbone="", num_frames=number, size=size, **form)
                    for peer, (number, size) in PEERS.items()
                ]
    if not found:
        raise ConfigError("precisions below fp32 go with --optimize folded or compiled")
    return found


def show(console: Console, costs: list[Cost], measures: list[str], sizes: dict[str, int]) -> None:
    """Print a table of the networks and one for each measure, and what the columns mean."""
    from teinet.benchmark.contenders import label
    from teinet.benchmark.table2 import published

    good = [cost for cost in costs if not cost.failed]
    table = _table("networks", "network", "pixels", "params", "GMACs a clip")
    for cost in good:
        size = f"{cost.parameters / 1e6:.1f} M"
        table.add_row(label(cost.contender), str(cost.contender.size), size, f"{cost.macs / 1e9:.2f}")
    _print(console, table)
    for measure in measures:
        clips = sizes[measure]
        title, unit, memory = {
            "latency": ("latency, one clip", "ms", "peak MB"),
            "throughput": (f"throughput, {clips} clips at once", "clips/s", "peak MB"),
            "training": (f"training, a step of {clips} {'clip' if clips == 1 else 'clips'}", "ms", "kept MB"),
        }[measure]
        rows = [(c, published(c.contender)) for c in good]
        paper = measure != "training" and any(row for _, row in rows)
        table = _table(title, "network", unit, "lowest", "highest", "x TSN", memory, *(["paper"] if paper else []))
        for cost, row in rows:
            if cells := _cells(cost, measure, clips):
                beside = [f"{getattr(row, measure):.1f}" if row else ""] if paper else []
                table.add_row(label(cost.contender), *cells, *beside)
        _print(console, table)
    for cost in costs:
        if cost.failed:
            console.print(f"{label(cost.contender)}: not measured: {cost.failed}", markup=False)
    console.print(
        "Medians over the rounds. x TSN: time over TSN's of the same round, frames and form, its median. peak: beyond "
        "what the process held before; kept: activations for the backward pass. paper: Table 2, on a Tesla P100.",
        style="dim",
        soft_wrap=False,
    )


def _table(title: str, *heads: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="left" if head == "network" else "right", no_wrap=True)
    return table


def _print(console: Console, table: Table) -> None:
    """Never narrower than its words: a file or pipe has no width, and a terminal wraps."""
    before = console.width
    console.width = max(before, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table)
    console.width = before


def _cells(cost: Cost, measure: str, clips: int) -> list[str]:
    spread, ratio = cost.time(measure), cost.ratio(measure)
    if spread is None:
        return []
    values = [1e3 * seconds for seconds in spread]
    if measure == "throughput":
        values = [clips / spread.median, clips / spread.high, clips / spread.low]
    memory = cost.kept_mb if measure == "training" else cost.peak_mb[measure]
    return [
        *(f"{value:.4g}" for value in values),
        "" if ratio is None else f"{ratio.median:.3f}",
        "" if memory != memory else f"{memory:.0f}",
    ]


def _words(text: str, option: str, valid: tuple[str, ...] | None = None) -> list[str]:
    from teinet.errors import nearest

    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise ConfigError(f"{option} names nothing")
    for word in words:
        if valid and word not in valid:
            raise ConfigError(f"{option}: no {word!r}; there are {', '.join(valid)}.{nearest(word, valid)}")
    return words
