"""`teinet convert`: another project's checkpoint as a recognizer of ours."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Literal

from teinet.cli.options import OVERWRITE, check_range, keep_existing
from teinet.cli.parser import option, positional
from teinet.errors import CheckpointError, ConfigError
from teinet.models.header import LAST, read_header, refuse_no_weights
from teinet.models.names import check_backbone

_SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".pkl", ".pyth", ".caffemodel")


@dataclass(kw_only=True)
class ConvertOptions:
    """Convert another project's checkpoint to a recognizer.

    teinet convert tsm.pth.tar --labels labels.txt --frames 8
    teinet convert r2d50.pth --labels labels.txt --project mmaction --output tsn.safetensors
    """

    checkpoint: str = positional("of TSM, MMAction2, torchvision, timm, pytorchvideo, ... (.pth, .pth.tar, ...)")
    labels: str = option("class names, one a line, or JSON", default=MISSING, metavar="FILE")
    frames: int | None = option("frames it was trained with; needed for TSM (TSN: 8)", metavar="T")
    project: Literal["tsm", "mmaction", "timm"] | None = option("origin of the checkpoint (default: by its keys)")
    backbone: str | None = option("timm's name, for a network of timm that is no plain ResNet", metavar="NAME")
    model: str | None = option("network, where no key tells it (I3D of .pkl files)", metavar="NAME")
    strategy: Literal["sparse", "dense"] | None = option("how it samples frames (default: sparse, or the system's own)")
    size: int | None = option("side of its frames, pixels (default: 224, or the system's own)")
    short_side: int | None = option("short side before the crop, pixels (default: 8/7 of the size)")
    n_div: int = option("TSM shifts 1/N of the channels each way", default=8)
    license: str = option("of the weights, kept in the file", default="")
    output: str | None = option("file to write (default: next to the checkpoint, as .safetensors)", metavar="FILE")
    overwrite: bool = option(OVERWRITE, default=False)
    json: bool = option("print a JSON object", default=False)


def run(args: ConvertOptions) -> int:
    """Convert, write the file and print what it holds; return 0. A TeinetError leaves no file."""
    source = Path(args.checkpoint)
    for path in (source, Path(args.labels)):
        if not path.is_file():
            from teinet.data.video.source import refuse_address  # here, as it imports PyAV

            refuse_address(path)
            if (path / LAST).is_file():
                raise ConfigError(f"{path} is a run, so a recognizer already; use it as it is")
            raise ConfigError(f"{path}: {'a folder; give a file' if path.is_dir() else 'no such file'}")
    refuse_no_weights(source, "give the file of the weights")
    if source.suffix == ".safetensors":
        with suppress(CheckpointError):
            read_header(source)
            raise ConfigError(f"{source} is a recognizer already; use it as it is")
    from teinet.data.lists.labels import read_class_names

    names = read_class_names(args.labels)
    if args.backbone:
        check_backbone(f"tsn_{args.backbone}")
    output = _output(source, args)
    from teinet.data.sampling import Sampling
    from teinet.data.transforms import Preprocessing
    from teinet.models.converters import FORMATS, contradictions, convert_checkpoint
    from teinet.models.names import usual_clip, usual_stride
    from teinet.recognition import Recognizer

    check_range(args, size=1, short_side=1, frames=1)
    done = convert_checkpoint(
        source,
        class_names=names,
        num_frames=args.frames,
        format=args.project,
        backbone=args.backbone,
        model=args.model,
        n_div=args.n_div,
    )
    model, network = done.model, (done.model.config or {})["name"]
    frames, stride, size = model.num_frames, usual_stride(network), args.size or usual_clip(network)[1]
    pixels = {**model.data_config, "interpolation": done.interpolation}
    window = {"window": frames * stride} if stride else {}
    recognizer = Recognizer(
        model,
        names,
        preprocessing=Preprocessing(size=size, short_side=args.short_side or round(size * 8 / 7), **pixels),
        sampling=Sampling(num_frames=frames, strategy=args.strategy or ("dense" if stride else "sparse"), **window),
        header={"license": args.license},
    )
    recognizer.save(output)
    notes = [done.note] if done.note else []
    if network.startswith("tsm_"):
        notes = contradictions(
            source, num_frames=model.num_frames, n_div=args.n_div, strategy=args.strategy or "sparse"
        )
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
    print(f"left out  {', '.join(done.left_out) or 'none'}")
    for note in notes:
        print(f"note      {note}")
    print(f"file      {output}\nNext: teinet predict {shlex.quote(str(output))} VIDEO")
    return 0


def _output(source: Path, args: ConvertOptions) -> Path:
    """Return the file to write; refused before the work where one exists."""
    name = source.name
    while name.endswith(_SUFFIXES):  # .pth.tar
        name = name.rpartition(".")[0]
    output = Path(args.output) if args.output else source.with_name(f"{name}.safetensors")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output}: the checkpoint itself; name another file with --output")
    if output.is_dir():
        raise ConfigError(f"{output}: a folder; name a file with --output")
    if not (above := next(folder for folder in output.absolute().parents if folder.exists())).is_dir():
        raise ConfigError(f"{output}: cannot be written ({above} is a file)")
    keep_existing([output], overwrite=args.overwrite)
    return output
