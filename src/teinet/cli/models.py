"""`teinet models`: the names that --model takes."""

from __future__ import annotations

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    words = "with wildcards, such as 'tsm_*mobilenet*' (default: teinet_*)"
    parser.add_argument("filter", nargs="?", default="teinet_*", help=words)
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Print the names that match; returns 0, or 1 when none does."""
    from teinet.models.names import list_models

    names = list_models(args.filter)
    print(json.dumps(names, indent=2) if args.json else "\n".join(names))
    if not names:
        print(f"teinet models: no network matches {args.filter!r}; try '*resnet*'", file=sys.stderr)
    return 0 if names else 1
