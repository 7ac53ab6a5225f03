"""What several commands share: their options, the recognizer that these name, and where outputs may be written."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.errors import ConfigError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.data.lists.splits import DataConfig
    from teinet.detection.events import Rules
    from teinet.recognition import Recognizer

_LIST_FIELDS = ("format", "root", "val_path", "test_path", "labels", "official_split", "image_names")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Declare the recognizer, as the first word."""
    parser.add_argument("weights", help="a run's folder (its last weights), a .safetensors file, or a pretrained name")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare --device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def add_optimize_option(parser: argparse.ArgumentParser) -> None:
    """Declare --optimize."""
    parser.add_argument(
        "--optimize",
        choices=("folded", "compile"),
        help="same answers, faster: norms folded, at once; compiled as well, in half a minute",
    )


def causal_form(weights: str, *, windows: bool) -> str:
    """Return a pretrained model's causal form, which sees each frame once, and say so; else the same weights."""
    from teinet.models.header import pretrained_file

    form = f"{weights}_causal"
    if windows or Path(weights).exists() or not (pretrained_file(weights) and pretrained_file(form)):
        return weights
    print(f"{weights}: using its causal form, {form} (--windows keeps {weights})", file=sys.stderr)
    return form


def load_recognizer(weights: str, args: argparse.Namespace, *, say: bool = True) -> Recognizer:
    """Load a recognizer as --device, --optimize and --precision ask; say what license its weights are under."""
    from teinet.recognition import Recognizer

    recognizer = Recognizer.load(weights, device=args.device)
    if say and recognizer.header["license"]:
        print(printable(f"{weights}: license of the weights: {recognizer.header['license']}"), file=sys.stderr)
    if args.optimize is None:
        return recognizer
    return recognizer.optimize(engine=args.optimize, precision=getattr(args, "precision", None) or "auto")


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare how far apart frames are taken, how many a score is of, and when events begin and end."""
    add = parser.add_argument
    text = "between the frames that the network takes (default: as in its training)"
    add("--frame-interval", type=float, metavar="SECONDS", help=text)
    text = "frame by frame: how many frames a score averages over (default: T)"
    add("--smoothing", type=int, metavar="FRAMES", help=text)
    text = "look at overlapping windows of T frames, as bidirectional networks always do"
    add("--windows", action="store_true", help=text)
    add("--threshold", type=float, default=0.5, help="the score at which an event begins (default: 0.5)")
    add("--off-threshold", type=float, default=0.35, help="the score below which it ends (default: 0.35)")
    add("--min-duration", type=float, default=0.5, help="seconds that it must last (default: 0.5)")
    text = "a background class, which makes no event; '' for none (default: what the weights say)"
    add("--background", action="append", metavar="LABEL", help=text)


def read_rules(args: argparse.Namespace) -> Rules:
    """Return the rules that the arguments say; background classes they may leave to the recognizer."""
    from teinet.detection.events import Rules

    background = None if args.background is None else tuple(filter(None, args.background))
    said = {name: getattr(args, name) for name in ("threshold", "off_threshold", "min_duration")}
    return Rules(**said, background=background)


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Declare what a list of clips is; they are fields of the recipe's `data` section."""
    add = parser.add_argument
    add("--format", default="auto", help="which kind of list it is (default: found out)")
    add("--root", help="folder that the list's paths start from")
    add("--val-path", help="a list of validation clips, where it is a file of its own")
    add("--test-path", help="a list of test clips, likewise")
    add("--labels", help="file of class names in the order of their numbers")
    add("--official-split", type=int, default=1, help="official split, UCF101 and HMDB51: 1 to 3")
    add("--image-names", help="of clips that are folders, such as img_{:05d}.jpg")


def data_config(args: argparse.Namespace, path: str) -> DataConfig:
    """Return what the options say of the list `path`."""
    from teinet.data.lists.splits import DataConfig

    return DataConfig(path=path, **{name: getattr(args, name) for name in _LIST_FIELDS})


def keep_apart(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path]) -> None:
    """Raise ConfigError if an option's file, such as {"--output": "found.csv"}, is an input or another option's output.

    None, folders, devices and pipes, such as /dev/stdout, take anything.
    """
    taken = {_key(path): "which this command reads" for path in inputs}
    for option, path in outputs.items():
        if not path or is_special(path) or os.path.isdir(path):
            continue
        if (key := _key(path)) in taken:
            raise ConfigError(f"{option} {path} would write over a file {taken[key]}; name another one")
        taken[key] = f"that {option} writes"


def check_file(path: str | Path) -> None:
    """Raise ConfigError if a file cannot be written: it is a folder, has none, or may not be written."""
    file = Path(path)
    folder = Path(os.path.realpath(path)).parent  # of what a link leads to
    if file.is_dir():
        why = "it is a folder"
    elif not file.exists() and not folder.is_dir():
        why = "its folder does not exist"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        why = "it may not be written"
    else:
        return
    raise ConfigError(f"{path}: cannot be written ({why})")


def check_output(path: str, inputs: Iterable[str | Path]) -> None:
    """Raise ConfigError if `--output` cannot be written, or is one of the files that the command reads."""
    check_file(path)
    keep_apart({"--output": path}, inputs)


def is_special(path: str | Path) -> bool:
    """Say whether a path is a device or a pipe."""
    path = Path(path)
    return path.is_relative_to("/dev") or (path.exists() and not (path.is_file() or path.is_dir()))


def _key(path: str | Path) -> object:
    """What tells a file from others, by whatever name."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
