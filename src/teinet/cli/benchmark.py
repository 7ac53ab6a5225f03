"""`teinet benchmark`: what networks cost on this machine, next to the paper's tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from teinet.cli.options import DEVICE, ENGINE, PRECISION, Engine, Precision, check_range, check_weights
from teinet.cli.parser import option, positional
from teinet.errors import ConfigError, nearest
from teinet.models.names import check_backbone, is_model, list_models, usual_clip
from teinet.models.systems.table import SYSTEMS
from teinet.utils.machine import check_device

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from teinet.evaluation.published import Published
    from teinet.evaluation.speed import Speed

_DEFAULT = ["tsn_resnet50", "tsm_resnet50", "tim_resnet50", "teinet_resnet50"]
_TABLES = ("2", "3", "5")


@dataclass(kw_only=True)
class BenchmarkOptions:
    """Measure what networks cost on this machine, next to the paper's tables.

    teinet benchmark
    teinet benchmark --paper
    teinet benchmark teinet_mobilenetv2_100 fights --engine compile --precision bf16
    teinet benchmark tsn_mobilenetv2_100 teinet_mobilenetv2_100 --all-forms --batch-size 1
    """

    models: list[str] = positional(
        "networks by name (teinet models lists them), runs, weights files or pretrained models (default: TSN, TSM, TIM "
        "and TEINet with ResNet-50)", metavar="MODEL",
        default=[],
    )  # fmt: skip
    paper: bool = option(
        "all systems of the paper's Tables 2, 3 and 5, or those among MODEL, each on the clip of its publication",
        default=False,
    )
    frames: int | None = option("of a clip, for networks by name (default: 8, or the system's own)")
    size: int | None = option("pixels, for networks by name (default: 224, or the system's own)")
    causal: bool = option("networks by name in their causal form, for live video", default=False)
    batch_size: int = option("clips at once for the throughput", default=16)
    rounds: int = option("each network is timed once in each", default=5)
    device: str = option(DEVICE, default="auto")
    engine: Engine = option(ENGINE, default="eager")
    precision: Precision = option(PRECISION, default="auto")
    all_forms: bool = option("every engine, in fp32 and in the fastest number format", default=False)
    json: bool = option("print the numbers as JSON", default=False)


def run(args: BenchmarkOptions) -> int:
    """Measure and print; return 0. Raises TeinetError for a name, file, device or number that cannot be used."""
    check_device(args.device)
    check_range(args, frames=1, size=32, batch_size=1, rounds=1)
    if args.all_forms and (args.engine, args.precision) != ("eager", "auto"):
        raise ConfigError("--all-forms measures every engine and precision; leave out --engine and --precision")
    if args.paper and (args.frames or args.size or args.causal):
        raise ConfigError("--paper takes each system's own clip; leave out --frames, --size and --causal")
    names = args.models or _DEFAULT
    if not args.paper:
        for name in names:
            if not is_model(name):
                if not Path(name).exists() and list_models(f"tsn_{name}"):
                    raise ConfigError(f"{name} is a backbone; add a prefix, such as tsn_{name} or teinet_{name}")
                check_weights(name)
            check_backbone(name)
    entries = (
        find_paper(args.models)
        if args.paper
        else [BenchmarkedNetwork(name, args.frames, args.size, []) for name in names]
    )
    from rich.console import Console

    from teinet.evaluation.speed import compare, expected_seconds, measure_memory, measure_speed
    from teinet.models.optimized import forms
    from teinet.recognition.engines import exported_forms
    from teinet.utils.machine import find_device, machine
    from teinet.utils.progress import file_progress
    from teinet.utils.text import duration

    device = find_device(args.device)
    if device.type == "mps":
        raise ConfigError("benchmark measures on cpu and cuda; add --device cpu")
    errors, facts = Console(stderr=True, highlight=False, soft_wrap=True), machine()
    chosen: list[tuple[Engine, Precision]] = [(args.engine, args.precision)]
    if args.all_forms:
        chosen = [*forms(device), *(exported_forms() if device.type == "cpu" else ())]
    builds = [partial(load, entry, device, args.causal, *form) for entry in entries for form in chosen]
    networks: list[Speed] = []
    with file_progress(errors, "building", len(builds), unit="networks") as advance:
        for build in builds:
            networks.append(build())
            advance(networks[-1].name)
    seconds = expected_seconds(networks, batch_size=args.batch_size, rounds=args.rounds)
    if seconds > 60:
        errors.print(f"this takes about {duration(seconds)}; fewer --rounds or a smaller --batch-size take less")
    passes = (args.rounds + 1) * len(networks) * len({1, args.batch_size})
    with file_progress(errors, "measuring", passes, unit="passes") as advance:
        for network, build in zip(networks, builds):
            measure_memory(network, build, batch_size=args.batch_size, progress=advance)
            if not network.peak_mb:
                errors.print(f"{network.name} is not measured: one clip does not fit into memory")
        networks = [network for network in networks if network.peak_mb]
        measure_speed(networks, rounds=args.rounds, progress=advance)
    compare(networks)
    found = [network.to_dict() for network in networks]
    if args.json:
        settings = {"device": str(device), "batch_size": args.batch_size, "rounds": args.rounds}
        print(json.dumps({"machine": facts, **settings, "models": found}, indent=2))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    where = _gpu(device) or f"{facts['processor']}, {facts['cores']} cores"
    console.print(f"{where}; PyTorch {facts['versions']['torch']}; {args.rounds} rounds", markup=False)
    table = costs_table(found, args.batch_size)
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table)
    for line in remarks(found, args.batch_size):
        console.print(line, style="dim", markup=False)
    return 0


class BenchmarkedNetwork(NamedTuple):
    """A network by its name, or a recognizer; frames and size in pixels, None for its own; its rows in the paper."""

    name: str
    frames: int | None
    size: int | None
    rows: list[Published]


def find_paper(names: Sequence[str] = ()) -> list[BenchmarkedNetwork]:
    """Return the RGB networks of the paper's Tables 2, 3 and 5 by the recipes, or those of `names` alone.

    Raises:
        ConfigError: a name is not in these tables.
    """
    from teinet.evaluation.published import Published
    from teinet.training.recipe_files import list_recipes

    found: dict[tuple[str, int, int], list[Published]] = {}
    for settings in list_recipes().values():
        rows = [p for p in Published.from_header(settings.get("published")) if p.table in _TABLES]
        if rows and settings["model"].get("modality", "rgb") == "rgb":
            name = settings["model"]["name"].partition(".")[0]
            size = SYSTEMS[name].cost_size if name in SYSTEMS else None
            size = size or settings["clip"]["size"]
            known = found.setdefault((name, settings["model"]["num_frames"], size), [])
            known += [p for p in rows if p not in known]
    entries = [BenchmarkedNetwork(*clip, rows) for clip, rows in found.items()]
    entries.sort(key=lambda entry: (min(p.table for p in entry.rows), entry.name, entry.frames))
    every = list(dict.fromkeys(entry.name for entry in entries))
    for name in names:
        if name not in every:
            raise ConfigError(f"{name} is not in the paper's Tables 2, 3 and 5.{nearest(name, every)}")
    return [entry for entry in entries if entry.name in (names or every)]


def load(
    entry: BenchmarkedNetwork, device: torch.device, causal: bool, engine: Engine, precision: Precision
) -> Speed:  # fmt: skip
    """Build a network by its name, or load a recognizer, in one form."""
    import torch

    from teinet.data.transforms import Preprocessing
    from teinet.evaluation.speed import Speed
    from teinet.models.factory import WITH_BOXES, create_model
    from teinet.recognition import Recognizer

    name = entry.name
    if is_model(name):
        boxes = "grid" if name == WITH_BOXES else None  # its detector is another network
        torch.manual_seed(0)  # the same network again has its exported file in the cache
        model = create_model(name, num_classes=400, num_frames=entry.frames, causal=causal, boxes=boxes)
        side = entry.size or usual_clip(name)[1]
        pixels: dict[str, Any] = {**model.data_config, "size": side, "short_side": side}
        recognizer = Recognizer(model.to(device), map(str, range(400)), preprocessing=Preprocessing(**pixels))
    else:
        recognizer = Recognizer.load(name, device=device)
    network = Speed.of(name, recognizer.model, recognizer.preprocessing.shape)
    network.rows = entry.rows
    network.model = recognizer.optimize(engine=engine, precision=precision).model
    network.form = str(getattr(network.model, "optimization", "eager, fp32"))
    return network


def _gpu(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def costs_table(found: Sequence[dict[str, Any]], batch_size: int) -> Table:
    """Return a table of measured networks, each as in the command's JSON."""
    from teinet.utils.tables import plain_table

    heads = ["model", "form", "clip", "params", "GMACs", "ms, one clip", "peak MB", f"clips/s, {batch_size} at once"]
    heads += ["peak MB", *(["time / TSN, one", f"{batch_size} at once"] if any(n["over_tsn"] for n in found) else [])]
    paper = [head for head in ("tables", "params", "GMACs", "ms", "clips/s") if any(head in _printed(n) for n in found)]
    table = plain_table(*heads, *(f"paper: {head}" for head in paper), text=["model", "form"])
    for column in table.columns:
        column.no_wrap = True
    for network in found:
        height, width = network["size"]
        peaks = ["" if peak is None else f"{peak:.0f}" for peak in network["peak_mb"].values()]
        at_once = "" if network["batch_size"] == batch_size else f", {network['batch_size']} at once"
        ratios = [f"{ratio:.2f}" for ratio in (network["over_tsn"] or {}).values()]
        table.add_row(
            network["name"],
            network["form"],
            f"{network['num_frames']} x {height}x{width}",
            f"{network['parameters'] / 1e6:.1f} M",
            f"{network['macs'] / 1e9:.2f}",
            "{median:.1f} ({low:.1f}-{high:.1f})".format(**network["latency_ms"]),
            peaks[0],
            "{median:.1f} ({low:.1f}-{high:.1f})".format(**network["clips_per_second"]) + at_once,
            peaks[1],
            *(ratios or [""] * (len(heads) - 9)),
            *(_printed(network).get(head, "") for head in paper),
        )
    return table


def _printed(network: dict[str, Any]) -> dict[str, str]:
    """Return what the paper prints of a measured network, by column."""
    rows, speed = network["rows"], network["paper"]
    gmacs = dict.fromkeys(f"{row['gmacs']:g}" for row in rows if row["gmacs"] is not None)
    cells = {"tables": " ".join(sorted({row["table"] for row in rows})), "GMACs": " or ".join(gmacs)} if rows else {}
    if speed:
        cells["params"] = f"{speed['parameters']:.1f} M"
        cells |= {"ms": f"{speed['latency']:.1f}", "clips/s": f"{speed['throughput']:.1f}"}
    return cells


def remarks(found: Sequence[dict[str, Any]], batch_size: int) -> list[str]:
    """Return the lines below a table of measured networks."""
    lines = ["Medians, lowest and highest round. Peak: memory of a pass beyond weights and clips."]
    if any(network["batch_size"] != batch_size for network in found):
        lines.append("Fewer clips at once where more do not fit into memory.")
    if any(network["over_tsn"] for network in found):
        lines.append("Time / TSN: of the same backbone, clip and form, round by round; the median.")
    if any(network["paper"] for network in found):
        lines.append("Paper: times of Table 2, on a Tesla P100, throughput in batches of 16.")
    noted = {network["name"]: network["note"] for network in found if network["note"]}
    return lines + [f"{name}: {note}." for name, note in noted.items()]
