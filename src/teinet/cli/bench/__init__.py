"""`teinet bench ACTION ...`: what things cost on this machine, one file an action."""

from __future__ import annotations

from teinet.cli.actions import run_action

ACTIONS = {
    "data": "how many clips a second the loader gives, by workers, and where the time goes",
}


def main(argv: list[str]) -> int:
    """Run one action; returns the exit code."""
    description = "Measure what things cost on this machine."
    return run_action(
        "bench", argv, ACTIONS, description=description, epilog="Let nothing else run on the machine meanwhile;"
    )
