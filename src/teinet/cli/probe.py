"""`teinet probe`: the best head on a frozen backbone for a few hundred clips, in minutes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from statistics import mean, pstdev
from typing import TYPE_CHECKING

from teinet.cli import options
from teinet.cli.parser import ADVANCED, option, positional
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, READ_TIMEOUT, check_max_damaged, check_path
from teinet.errors import ConfigError
from teinet.models.names import check_backbone
from teinet.utils.machine import check_device
from teinet.utils.text import count, duration, printable

if TYPE_CHECKING:
    from teinet.probing.probe_job import Probed

_FORM = {".safetensors": "weights"}


@dataclass(kw_only=True)
class ProbeOptions(options.ListOptions):
    """Fit the best linear head on a frozen backbone, and measure it by nested folds.

    teinet probe videos/                              a folder of class folders, or a list of clips
    teinet probe clips.csv --group source_video       clips of one source video stay in one fold
    teinet probe videos/ --output mine.safetensors    then: teinet predict mine.safetensors clip.mp4
    """

    data: str = positional("a folder of class folders, or a list of clips")
    group: str | None = option("column of the list whose values stay in one fold, such as a person", metavar="COLUMN")
    output: str = option("file of the recognizer", default="probe.safetensors", metavar="FILE")
    overwrite: bool = option(options.OVERWRITE, default=False)
    json: bool = option("print everything as JSON", default=False)
    frames: int = option("of a clip, spread over it", default=16)
    frame_size: str | None = option(
        "height and width of the frames, as 120x213 (default: whole frames, short side 120)", metavar="HxW"
    )
    backbone: str | None = option(
        "timm's name of the frozen 2-D network (default: tf_efficientnet_lite0)", metavar="NAME"
    )
    backbone_weights: str | None = option("local file of its weights, in place of a download", metavar="FILE")
    head: list[str] | None = option(
        "average, motion, temporal, difference or temporal_difference; repeat it (default: all)", metavar="HEAD"
    )
    causal: bool = option("the form for live video, frame by frame; without the temporal heads", default=False)
    folds: int = option("parts of the clips, each measured once", default=5, group=ADVANCED)
    shuffles: int | None = option(
        "how often the folds are drawn (default: 5, and 1 of more than 500 clips)", group=ADVANCED
    )
    seed: int = option("of the folds", default=0, group=ADVANCED)
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED, group=ADVANCED)
    device: str = option(options.DEVICE, default="auto", group="device")
    workers: int | None = option("processes that read clips (default: one for each core)", group="device")
    read_timeout: float = option("seconds that reading one clip may take", default=READ_TIMEOUT, group="device")


def run(args: ProbeOptions) -> int:
    """Probe, write the recognizer and print the comparison; return 1 when some clip could not be read."""
    options.check_range(args, frames=2, folds=2, shuffles=1, workers=0, read_timeout=0.001)
    check_max_damaged(args.max_damaged, "--max-damaged")
    check_device(args.device)
    check_path(args.data)
    backbone = args.backbone or "tf_efficientnet_lite0"
    check_backbone(f"tsn_{backbone}")
    options.output_form(args, _FORM)
    options.check_output(args.output, [args.data, *filter(None, [args.backbone_weights])], overwrite=args.overwrite)
    from dataclasses import replace

    from rich.console import Console

    from teinet.probing.probe_job import CAUSAL_HEADS, HEADS, ProbeSettings, probe
    from teinet.utils.worker_pool import usable_cores

    settings = ProbeSettings(
        data=replace(args.data_config(args.data), group=args.group, max_damaged=args.max_damaged),
        backbone=backbone,
        backbone_weights=args.backbone_weights,
        num_frames=args.frames,
        size=_size(args.frame_size),
        heads=tuple(dict.fromkeys(args.head or (CAUSAL_HEADS if args.causal else HEADS))),  # pyright: ignore[reportArgumentType]
        causal=args.causal,
        folds=args.folds,
        shuffles=args.shuffles,
        seed=args.seed,
        device=args.device,
        workers=usable_cores() if args.workers is None else args.workers,
        read_timeout=args.read_timeout,
    )
    probed = probe(settings, console=Console(stderr=True))
    probed.recognizer.save(args.output)
    for path, reason in probed.unreadable:
        print(printable(f"{path}: {reason}"), file=sys.stderr)
    for path, damage in probed.features.damaged:
        print(printable(f"{path}: {damage}"), file=sys.stderr)
    if args.json:
        print(json.dumps({**probed.to_dict(), "output": args.output}, indent=2))
    else:
        _print(probed, args)
    if probed.unreadable:
        print(f"unreadable: {count(len(probed.unreadable), 'clip')}, left out", file=sys.stderr)
    return int(bool(probed.unreadable))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(height) and int(width or height)):
        raise ConfigError(f"--frame-size {text!r} cannot be parsed; write height x width in pixels, such as 120x213")
    return int(height), int(width or height)


def _print(probed: Probed, args: ProbeOptions) -> None:
    from rich.console import Console

    from teinet.utils.tables import plain_table

    found, console = probed.comparison, Console(highlight=False, soft_wrap=True)
    kept = f" of {count(probed.groups, 'group')} ({args.group})" if probed.groups else ""
    names = probed.recognizer.class_names
    console.print(
        f"{count(len(probed.labels), 'clip')} of {len(names)} classes; {found.folds} folds{kept}", markup=False
    )
    if probed.features.known:
        console.print(f"features of {count(probed.features.known, 'clip')} kept from an earlier probe")
    table = plain_table("head", "C", "top-1, %", "", text=("head", ""))
    for candidate, accuracies in found.candidates.items():
        chosen = candidate == found.chosen
        table.add_row(
            candidate.head, f"{candidate.strength:g}", _share(accuracies), "chosen" if chosen else "",
            style="bold" if chosen else None,
        )  # fmt: skip
    console.print(table)
    console.print(f"The whole choice, on clips that had no part in it: top-1 {_share(found.nested)} %")
    if len(names) <= 30:
        worst = sorted(probed.recall().items(), key=lambda each: each[1])
        console.print(
            "by class: " + ", ".join(f"{printable(name)} {100 * share:.0f} %" for name, share in worst), markup=False
        )
    if probed.test_accuracy is not None:
        console.print(f"test clips: top-1 {100 * probed.test_accuracy:.1f} %")
    parts = ", ".join(f"{part} {duration(seconds)}" for part, seconds in probed.seconds.items())
    console.print(printable(f"wrote {args.output} ({parts})"), markup=False)


def _share(accuracies: list[float]) -> str:
    spread = f" ± {100 * pstdev(accuracies):.1f}" if len(accuracies) > 1 else ""
    return f"{100 * mean(accuracies):.1f}{spread}"
