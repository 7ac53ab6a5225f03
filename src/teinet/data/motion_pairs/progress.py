"""Drawing before a person's eyes."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from teinet.data.motion_pairs.draw import draw
from teinet.data.motion_pairs.settings import MotionPairs


def draw_with_progress(folder: Path, settings: MotionPairs, console: Console, footage: str | None = None) -> Path:
    """Draw motion_pairs and show how far it is, on a terminal; see `draw`."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing motion_pairs")
        return draw(
            folder,
            settings,
            footage=footage,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
