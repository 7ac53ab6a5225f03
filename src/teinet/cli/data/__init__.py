"""`teinet data ACTION ...`: what can be done with lists of clips and with the clips themselves, one file an action."""

from __future__ import annotations

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
