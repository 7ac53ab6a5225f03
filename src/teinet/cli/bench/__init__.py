"""`teinet bench ACTION ...`: what things cost on this machine, one file an action."""

from __future__ import annotations

import argparse
from importlib import import_module

from teinet.cli.parser import Parser
from teinet.errors import ConfigError, nearest

ACTIONS = {
    "data": "how many clips a second the loader gives, by workers, and where the time goes",
}
_EPILOG = """\
actions:
{actions}

teinet bench ACTION --help says more. Let nothing else run on the machine meanwhile.
"""


def main(argv: list[str]) -> int:
    """Run one action; returns the exit code.

    Raises:
        ConfigError: an action that does not exist.
    """
    if not argv or argv[0].startswith("-"):
        actions = "\n".join(f"  {name:<9} {what}" for name, what in ACTIONS.items())
        parser = Parser(
            prog="teinet bench",
            usage="teinet bench ACTION ...",
            description="Measure what things cost on this machine.",
            epilog=_EPILOG.format(actions=actions),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if argv:
            parser.parse_args(argv)
        parser.print_help()
        return 2
    if argv[0] not in ACTIONS:
        raise ConfigError(f"there is no action {argv[0]!r}.{nearest(argv[0], ACTIONS)} See teinet bench --help")
    action = import_module(f"teinet.cli.bench.{argv[0]}")
    parser = Parser(prog=f"teinet bench {argv[0]}", description=ACTIONS[argv[0]])
    action.add_arguments(parser)
    return action.run(parser.parse_args(argv[1:]))
