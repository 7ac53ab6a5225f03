"""When frames are taken and events begin and end: what the commands for recordings and live video share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teinet.detection.events import Rules


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare how far apart frames are taken, and when events begin and end."""
    parser.add_argument(
        "--every",
        type=float,
        default=None,
        metavar="SECONDS",
        help="between the frames that the network takes (default: as in its training)",
    )
    parser.add_argument("--begin", type=float, default=0.5, help="the score at which an event begins (default: 0.5)")
    parser.add_argument("--end", type=float, default=0.35, help="the score below which it ends (default: 0.35)")
    parser.add_argument("--least", type=float, default=0.5, help="seconds that it must last (default: 0.5)")
    parser.add_argument(
        "--nothing",
        action="append",
        default=None,
        metavar="LABEL",
        help="a class that means that nothing happens; '' for none (default: what the weights say)",
    )


def read_rules(args: argparse.Namespace) -> Rules:
    """The rules that the arguments say; what means nothing they may leave to the recogniser.

    Raises:
        ConfigError: a value out of its range.
    """
    from teinet.detection.events import Rules

    nothing = None if args.nothing is None else tuple(filter(None, args.nothing))
    return Rules(begin=args.begin, end=args.end, least=args.least, nothing=nothing)
