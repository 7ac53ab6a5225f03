"""`teinet data inspect`: say what a list was understood to be, and how its clips are."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from teinet.cli.lists import add_list_options, data_config, list_words
from teinet.cli.places import check_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips")
    add_list_options(parser)
    parser.add_argument("--output", default=None, metavar="PAGE.html", help="write it as a page too, with pictures")
    parser.add_argument("--sample", type=int, default=200, help="clips to measure, drawn at random (default: 200)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Look and print; returns 0.

    Raises:
        TeinetError: an unusable list or setting.
    """
    from rich.console import Console

    from teinet.data.lists.splits import read_config
    from teinet.data.tools.inspection.facts import facts
    from teinet.data.tools.inspection.sample import draw_sample
    from teinet.data.tools.inspection.tables import tables
    from teinet.errors import ConfigError

    if args.sample < 0:
        raise ConfigError(f"--sample is {args.sample}; expected 0 or more clips to measure")
    if args.output:
        check_output(args.output, [args.path])
    listing = read_config(data_config(args, args.path))
    found = facts(listing, found_out=args.format == "auto")
    sample = draw_sample(found.rows, found.missing, args.sample, console=Console(stderr=True))
    page = None
    if args.output:
        from teinet.data.tools.inspection.page import write_page

        page = write_page(found, sample, Path(args.output), commands=_commands(args))
    if args.json:
        print(json.dumps({**found.to_dict(), "sample": sample.to_dict()}, indent=2))
        return 0
    console = Console(highlight=False)
    for title, table in tables(found, sample):
        if title:
            console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
    if page is not None:
        console.print(f"page: {page}", markup=False, soft_wrap=True)
    return 0


def _commands(args: argparse.Namespace) -> dict[str, str]:
    """What to type next, with the options that say what the list is."""
    here, options = args.path, list_words(args)
    return {
        "check": shlex.join(["teinet", "data", "check", here, *options]),
        "shrink": shlex.join(["teinet", "data", "shrink", here, "FOLDER", *options]),
        "train": shlex.join(["teinet", "train", "--data", here, *list_words(args, prefix="--data.")]),
    }
