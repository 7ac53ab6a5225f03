"""`teinet data ACTION ...`: what can be done with lists of clips and with the clips themselves, one file an action."""

from __future__ import annotations

import shlex
from pathlib import Path

from teinet.cli.actions import run_action

ACTIONS = {
    "inspect": "say what a list was understood to be, and how its clips are; as a page too",
    "check": "decode every clip once and name those that are broken",
    "shrink": "write small copies of all clips, from which training reads faster",
    "convert": "write any list as a csv with named columns",
    "join": "join labelled clips to long recordings with annotations",
    "draw": "draw the embedded data set motion_pairs",
}


def main(argv: list[str]) -> int:
    """Run one action; returns the exit code."""
    return run_action(
        "data",
        argv,
        ACTIONS,
        description="Look at lists of clips, and prepare the clips.",
        epilog="PATH is a folder of class folders, a data set's own folder, or a list of clips;",
    )


def next_training(list_: Path, labels: Path | None, *, drop: bool = False) -> str:
    """The command that trains on a list that was just written."""
    words = ["teinet", "train", "--data", str(list_)]
    words += ["--data.labels", str(labels)] if labels else []
    words += ["--data.missing", "drop"] if drop else []
    return shlex.join(words)
