"""`teinet study ACTION ...`: networks compared over folds and seeds under one recipe, one file an action."""

from __future__ import annotations

from teinet.cli.actions import run_action

ACTIONS = {
    "run": "train and test all cells that are not done, several at once; resumable",
    "cell": "train and test one cell",
    "table": "what the finished cells say: means, spreads, paired differences",
}


def main(argv: list[str]) -> int:
    """Run one action; returns the exit code."""
    return run_action(
        "study",
        argv,
        ACTIONS,
        description="Compare networks over folds and seeds, under one recipe.",
        epilog="STUDY is a YAML file that names recipe, data, networks, folds and seeds;",
    )
