"""The option that makes a network faster before it is used."""

from __future__ import annotations

import argparse


def add_optimize_option(parser: argparse.ArgumentParser) -> None:
    """Declare --optimize."""
    parser.add_argument(
        "--optimize",
        choices=("folded", "compiled"),
        default=None,
        help="same answers, faster: norms folded, at once; compiled as well, in half a minute",
    )
