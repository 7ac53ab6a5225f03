"""`teinet data draw`: write the embedded data set motion_pairs as real .mp4 files."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes: the fields of `MotionPairs`, explained by its docstring."""
    from docstring_parser import parse

    from teinet.data.motion_pairs import MotionPairs

    text = parse(MotionPairs.__doc__ or "")
    meaning = {p.arg_name: p.description for p in text.params}
    parser.description = text.short_description
    parser.add_argument("folder", help="where to write; an interrupted drawing goes on")
    parser.add_argument(
        "--footage",
        default=None,
        metavar="FOLDER",
        help="draw on real video: these files run behind the things, forwards or backwards, and pieces of them are on "
        "the things",
    )
    for field in fields(MotionPairs):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{meaning[field.name]} (default: {field.default})",
        )


def run(args: argparse.Namespace) -> int:
    """Draw, with progress; returns 0."""
    from rich.console import Console

    from teinet.data.motion_pairs import MotionPairs
    from teinet.data.motion_pairs.progress import draw_with_progress

    settings = MotionPairs(**{f.name: getattr(args, f.name) for f in fields(MotionPairs)})
    console = Console()
    folder = draw_with_progress(Path(args.folder), settings, console, args.footage)
    console.print(f"{folder}: ready. Next: teinet train --data {folder}", highlight=False, soft_wrap=True)
    return 0
