"""`teinet data join`: join labelled clips to long recordings with annotations."""

from __future__ import annotations

import argparse
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.lists import add_list_options, data_config
from teinet.errors import ConfigError

if TYPE_CHECKING:
    from teinet.data.join import Joined

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips; they are not changed")
    parser.add_argument("folder", help="a new or empty folder, for the recordings and annotations.csv")
    add_list_options(parser)
    parser.add_argument("--seconds", type=float, default=60, help="that a recording lasts at most (default: 60)")
    parser.add_argument(
        "--gap", default="0.5-2", metavar="FROM-TO", help="seconds of stillness between two clips (default: 0.5-2)"
    )
    parser.add_argument("--by", default=None, metavar="COLUMN", help="never mix its values, as in --by subject")
    parser.add_argument("--size", default=None, metavar="WxH", help="of the pictures (default: the commonest)")
    parser.add_argument("--rate", default=None, help="frames a second, 12 or 30000/1001 (default: the commonest)")
    parser.add_argument("--quality", type=int, default=18, help="x264's rate factor, 0 (best) to 51 (default: 18)")
    parser.add_argument("--seed", type=int, default=0, help="of order and pauses (default: 0)")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Join and print; returns 0, or 1 when some clip could not be read.

    Raises:
        TeinetError: an unusable list, folder or setting; or `Interrupted`; nothing is written.
    """
    from rich.console import Console

    from teinet.data.join import Joining, join
    from teinet.data.lists.splits import read_config

    settings = Joining(
        seconds=args.seconds,
        gap=_gap(args.gap),
        seed=args.seed,
        by=args.by,
        size=_size(args.size),
        rate=_rate(args.rate),
        quality=args.quality,
    )
    done = join(read_config(data_config(args, args.path)), Path(args.folder), settings, console=Console(stderr=True))
    if args.json:
        print(json.dumps(done.to_dict(), indent=2))
    else:
        _print(done)
    return int(bool(done.unreadable))


def _gap(text: str) -> tuple[float, float]:
    first, _, last = text.partition("-")
    try:
        return float(first), float(last or first)
    except ValueError:
        raise ConfigError(f"--gap {text!r} is no span of seconds; write 1 or 0.5-2") from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"--size {text!r} is no size; write 320x240")
    return int(width), int(height)


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"--rate {text!r} is no number of frames a second; write 25 or 30000/1001") from None


def _print(done: Joined) -> None:
    from rich.console import Console

    from teinet.utils.text import printable

    console = Console(highlight=False, soft_wrap=True)
    for row, reason in done.unreadable[:_SHOWN]:
        console.print(printable(f"{row.path}: {reason}"), style="red", markup=False)
    if done.unreadable:
        console.print(f"{len(done.unreadable)} clips left out", markup=False)
    width, height = done.size
    minutes, seconds = divmod(math.floor(done.seconds), 60)
    shape = f"{width}x{height}, {float(done.rate):g} frames a second"
    console.print(
        f"{done.recordings} recordings of {done.clips} clips, {minutes} min {seconds} s, {shape}", markup=False
    )
    console.print(f"annotations: {done.annotations}", markup=False)
    console.print(f"Next: teinet timeline WEIGHTS {done.annotations.parent} --truth {done.annotations}", markup=False)
