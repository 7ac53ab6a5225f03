"""`teinet convert`: another project's checkpoint as a recognizer of ours."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path

from teinet.errors import ConfigError

_SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add("checkpoint", help="of TSM's repository, MMAction2, torchvision or timm (.pth, .pth.tar, ...)")
    add("--labels", required=True, metavar="FILE", help="class names, one a line, or JSON")
    add("--frames", type=int, metavar="T", help="frames it was trained with; needed for TSM (TSN: 8)")
    add("--format", help="tsm, mmaction or timm (default: found out from the keys)")
    add("--backbone", metavar="NAME", help="timm's name, for a network of timm that is no plain ResNet")
    add("--strategy", default="sparse", help="how it samples frames: sparse (default) or dense")
    add("--size", type=int, default=224, help="side of its frames, pixels (default: 224)")
    add("--short-side", type=int, default=256, help="short side before the crop, pixels (default: 256)")
    add("--n-div", type=int, default=8, help="TSM shifts 1/N of the channels each way (default: 8)")
    add("--output", metavar="FILE", help="default: next to the checkpoint, as .safetensors")
    add("--force", action="store_true", help="overwrite a file that is there")
    add("--license", default="", metavar="TEXT", help="of the weights, kept in the file")
    add("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """Convert, write the file and print what it holds; returns 0. Where it raises a TeinetError nothing is written."""
    from teinet.data.lists.labels import read_class_names
    from teinet.data.sampling import Sampling
    from teinet.data.transforms import Preprocessing
    from teinet.models.converters import FORMATS, contradictions, convert_checkpoint
    from teinet.recognition import Recognizer

    source = Path(args.checkpoint)
    output = _output(source, args)
    names = read_class_names(args.labels)
    pixels = Preprocessing(size=args.size, short_side=args.short_side)  # a wrong setting is found before the work
    sampling = Sampling(strategy=args.strategy)
    done = convert_checkpoint(
        source, class_names=names, num_frames=args.frames, format=args.format, backbone=args.backbone, n_div=args.n_div
    )
    model, network = done.model, (done.model.config or {})["name"]
    colors = model.data_config
    recognizer = Recognizer(
        model,
        names,
        preprocessing=replace(pixels, interpolation=done.interpolation, mean=colors["mean"], std=colors["std"]),
        sampling=replace(sampling, num_frames=model.num_frames),
        header={"license": args.license},
    )
    try:
        recognizer.save(output)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written ({error.strerror or error})") from error
    notes = []
    if network.startswith("tsm_"):
        notes = contradictions(source, num_frames=model.num_frames, n_div=args.n_div, strategy=args.strategy)
    facts = {
        "format": done.format,
        "network": network,
        "num_frames": model.num_frames,
        "num_classes": model.num_classes,
        "left_out": list(done.left_out),
        "notes": notes,
        "file": str(output),
    }
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"format    {done.format} ({FORMATS[done.format]})")
    print(f"network   {network}, T = {model.num_frames} frames, {model.num_classes} classes")
    print(f"left out  {', '.join(done.left_out) or 'nothing'}")
    for note in notes:
        print(f"note      {note}")
    print(f"file      {output}\nNext: teinet predict {shlex.quote(str(output))} VIDEO")
    return 0


def _output(source: Path, args: argparse.Namespace) -> Path:
    """Where to write; refused before the work where something is there."""
    name = source.name
    while name.endswith(_SUFFIXES):  # .pth.tar
        name = name.rpartition(".")[0]
    output = Path(args.output) if args.output else source.with_name(f"{name}.safetensors")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output}: the checkpoint itself; name another file with --output")
    if output.is_dir():
        raise ConfigError(f"{output}: a folder; name a file with --output")
    if output.exists() and not args.force:
        raise ConfigError(f"{output}: is there already; --force overwrites it, --output names another file")
    return output
