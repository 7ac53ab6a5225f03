"""Drawing before a person's eyes."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from teinet.data.motion_pairs.draw import draw
from teinet.data.motion_pairs.settings import MotionPairs
from teinet.utils.progress import ProgressBars


def draw_with_progress(folder: Path, settings: MotionPairs, console: Console, footage: str | None = None) -> Path:
    """Draw motion_pairs and show how far it is, on a terminal; see `draw`."""
    with ProgressBars(console) as bars:
        task = bars.task("drawing motion_pairs", unit="clips")
        return draw(folder, settings, footage=footage, progress=lambda done, total: task.update(done, total=total))
