"""`teinet data convert`: write any list as a csv with named columns."""

from __future__ import annotations

import argparse
from pathlib import Path

from teinet.cli.lists import add_list_options, data_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("path", help="a folder of class folders, or a list of clips")
    parser.add_argument("output", metavar="OUT.csv", help="the csv; class names go to OUT.labels.txt beside it")
    add_list_options(parser)
    parser.add_argument("--absolute", action="store_true", help="whole paths (default: from the csv's folder on)")
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def run(args: argparse.Namespace) -> int:
    """Convert and print what to type next; returns 0.

    Raises:
        TeinetError: an unusable list or output; nothing is written.
    """
    from teinet.cli.data import next_training
    from teinet.data.lists.splits import read_config
    from teinet.data.tools.convert import convert

    listing = read_config(data_config(args, args.path))
    done = convert(listing, Path(args.output), absolute=args.absolute, force=args.force)
    print(f"{len(listing.rows)} clips of format {listing.format}: {done.list}")
    if done.labels:
        print(f"{done.classes} class names in their order: {done.labels}")
    if done.missing:
        print(f"{done.missing} of its clips are not there")
    # Of a data set of which no copy is complete, training would leave them out; of a csv it does so when told to.
    drop = listing.incomplete and done.missing > 0
    print(f"Next: {next_training(done.list, done.labels, drop=drop)}")
    return 0
