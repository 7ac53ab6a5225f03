"""`teinet data draw`: write the embedded data set motion_pairs as real .mp4 files."""

from __future__ import annotations

import argparse
from dataclasses import fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    from teinet.data.motion_pairs import MotionPairs

    actions = parser.add_subparsers(dest="action", required=True, metavar="draw")
    draw = actions.add_parser("draw", help="draw motion_pairs", description=MotionPairs.__doc__)
    draw.add_argument("folder", help="where to write; an interrupted drawing goes on")
    for field in fields(MotionPairs):
        kind = type(field.default)
        draw.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, help=f"default: {field.default}"
        )


def run(args: argparse.Namespace) -> int:
    """Draw, with progress; returns 0."""
    from rich.console import Console

    from teinet.data.motion_pairs import MotionPairs

    settings = MotionPairs(**{f.name: getattr(args, f.name) for f in fields(MotionPairs)})
    console = Console()
    folder = draw_with_progress(args.folder, settings, console)
    console.print(f"{folder}: ready. Next: teinet train --data {folder}", highlight=False, soft_wrap=True)
    return 0


def draw_with_progress(folder: str, settings, console):
    """Draw motion_pairs and show how far it is; returns the folder."""
    from rich.progress import Progress

    from teinet.data.motion_pairs import draw

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing motion_pairs")
        return draw(folder, settings, progress=lambda done, total: bar.update(task, completed=done, total=total))
