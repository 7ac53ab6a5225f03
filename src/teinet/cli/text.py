"""What several commands print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: str) -> str:
    """A name or message as it may be shown: without what would steer a terminal or end a line.

    File names are bytes on Linux; what is not UTF-8 among them is shown as a question mark, and so are control
    characters, such as a label may hold; a line break is a space.
    """
    return _CONTROLS.sub(
        lambda found: " " if found[0] in "\n\r\t" else "?", text.encode("utf-8", "replace").decode("utf-8")
    )


def next_training(list_: Path, labels: Path | None, *, drop: bool = False) -> str:
    """The command that trains on a list that was just written."""
    words = ["teinet", "train", "--data", str(list_)]
    words += ["--data.labels", str(labels)] if labels else []
    words += ["--data.missing", "drop"] if drop else []
    return shlex.join(words)


def say_departures(console: Console, row: str | None, settings: Sequence[str]) -> None:
    """Say that figures printed for a row stand beside a run that is not quite it."""
    text = f"this is not the row itself: {', '.join(settings)} differ from {row}"
    console.print(text, style="dim", highlight=False, soft_wrap=True)
