"""`teinet bench`: what networks cost on this machine; `teinet bench data`: what loading clips costs."""

from __future__ import annotations

from teinet.cli.actions import run_action

ACTIONS = {
    "networks": "parameters, multiply-adds, latency, throughput and memory of networks, side by side",
    "data": "how many clips a second the loader gives, by workers, and where the time goes",
}


def main(argv: list[str]) -> int:
    """Run one action, `networks` where none is named; returns the exit code."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["networks", *argv]
    return run_action(
        "bench",
        argv,
        ACTIONS,
        description="Measure what things cost on this machine. Without an action: networks.",
        epilog="Let nothing else run on the machine meanwhile;",
    )
