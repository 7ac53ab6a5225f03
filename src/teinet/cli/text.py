"""What several commands print."""

from __future__ import annotations

import shlex
from pathlib import Path


def printable(text: str) -> str:
    """File names are bytes on Linux; what is not UTF-8 among them is shown as a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def next_training(list_: Path, labels: Path | None, *, drop: bool = False) -> str:
    """The command that trains on a list that was just written."""
    words = ["teinet", "train", "--data", str(list_)]
    words += ["--data.labels", str(labels)] if labels else []
    words += ["--data.missing", "drop"] if drop else []
    return shlex.join(words)
