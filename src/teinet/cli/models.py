"""`teinet models`: networks by name with their cost, and pretrained models."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teinet.cli.parser import option, positional

if TYPE_CHECKING:
    from teinet.models.header import Pretrained

_COSTED = 20  # names up to which costs are counted without being asked for; each takes half a second


@dataclass(kw_only=True)
class ModelsOptions:
    """List networks by name, with parameters and GMACs where 20 or fewer match, and pretrained models.

    teinet models --pretrained               models that are ready to use
    teinet models '*_resnet50'               networks that can be trained, with their cost
    teinet models 'slowfast*'                systems that the paper compares TEINet with
    teinet models 'tsm_*mobilenet*' --frames 16 --size 160
    """

    filter: str = positional("a name with wildcards", default="teinet_*")
    pretrained: bool = option("list pretrained models", default=False)
    frames: int | None = option("of a clip, for the cost (default: 8, or the system's own)")
    size: int | None = option("pixels, for the cost (default: 224, or the system's own)")
    cost: bool = option("count parameters and GMACs of more than 20 networks too", default=False)
    json: bool = option("print a JSON list", default=False)


def run(args: ModelsOptions) -> int:
    """Print the names that match; return 0, or 1 when none does."""
    from fnmatch import fnmatch

    from teinet.cli.options import check_range
    from teinet.models.header import list_pretrained, pretrained_file
    from teinet.models.names import list_models, pattern_like

    check_range(args, frames=1, size=32)
    if args.pretrained:
        named = args.filter if args.filter != ModelsOptions.filter else "*"
        return _print_pretrained([each for each in list_pretrained() if fnmatch(each.name, named)], args.json)
    names = list_models(args.filter)
    if not names:
        hint = f"try {pattern_like(args.filter) or '*resnet*'!r}"
        if pretrained_file(args.filter):
            hint = f"it is a pretrained model: teinet info {args.filter}"
        print(f"teinet models: no network matches {args.filter!r}; {hint}", file=sys.stderr)
        return 1
    counted = args.cost or len(names) <= _COSTED
    found = [_cost(name, args) for name in names] if counted else [{"name": name} for name in names]
    if args.json:
        print(json.dumps(found, indent=2))
    elif counted:
        _print_costs(found)
    else:
        print("\n".join(names))
        print(f"{len(names)} networks; a narrower name, or --cost, gives parameters and GMACs", file=sys.stderr)
    return 0


def _cost(name: str, args: ModelsOptions) -> dict[str, Any]:
    """Count parameters and multiply-adds of a network with 400 classes."""
    import torch

    from teinet.errors import ConfigError
    from teinet.models.classifier import multiply_adds, parameters
    from teinet.models.factory import create_model
    from teinet.models.names import usual_clip

    size = args.size or usual_clip(name)[1]
    with torch.device("meta"):
        model = create_model(name, num_classes=400, num_frames=args.frames)
    try:
        macs = multiply_adds(model, size) / 1e9
    except (ConfigError, RuntimeError, AssertionError):  # some networks take images of one size only
        macs = None
    clip = {"frames": model.num_frames, "size": size}
    return {"name": name, **clip, "parameters": parameters(model), "gmacs": macs}


def _print_costs(found: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from teinet.utils.tables import plain_table

    table = plain_table("network", "clip", "parameters", "GMACs", text=["network"])
    for each in found:
        macs = "-" if each["gmacs"] is None else f"{each['gmacs']:.2f}"
        clip = f"{each['frames']} x {each['size']}x{each['size']}"
        table.add_row(each["name"], clip, f"{each['parameters'] / 1e6:.2f} M", macs)
    console = Console(highlight=False)
    console.print(table)
    console.print("With 400 classes; a clip is frames x pixels.", style="dim")


def _print_pretrained(found: list[Pretrained], as_json: bool) -> int:
    if as_json:
        print(json.dumps([{"name": each.name, **each.header["card"]} for each in found], indent=2))
    for each in found if not as_json else ():
        print(f"{each.name:<20}{each.header['card'].get('title', '')}")
    if not as_json:
        print("teinet info NAME says how well, trained on what, and what it is not for", file=sys.stderr)
    return 0 if found else 1
