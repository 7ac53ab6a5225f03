"""`teinet data ACTION ...`: what can be done with lists of clips and with the clips themselves, one file an action."""

from __future__ import annotations

import argparse
from importlib import import_module

from teinet.cli.parser import Parser
from teinet.errors import ConfigError, nearest

ACTIONS = {
    "inspect": "say what a list was understood to be, and how its clips are; as a page too",
    "check": "decode every clip once and name those that are broken",
    "shrink": "write small copies of all clips, from which training reads faster",
    "convert": "write any list as a csv with named columns",
    "draw": "draw the embedded data set motion_pairs",
}
_EPILOG = """\
actions:
{actions}

PATH is a folder of class folders, a data set's own folder, or a list of clips; teinet data ACTION --help says more.
"""


def main(argv: list[str]) -> int:
    """Run one action; returns the exit code.

    Raises:
        ConfigError: an action that does not exist.
    """
    if not argv or argv[0].startswith("-"):
        actions = "\n".join(f"  {name:<9} {what}" for name, what in ACTIONS.items())
        parser = Parser(
            prog="teinet data",
            usage="teinet data ACTION ...",
            description="Look at lists of clips, and prepare the clips.",
            epilog=_EPILOG.format(actions=actions),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if argv:
            parser.parse_args(argv)
        parser.print_help()
        return 2
    if argv[0] not in ACTIONS:
        raise ConfigError(f"there is no action {argv[0]!r}.{nearest(argv[0], ACTIONS)} See teinet data --help")
    action = import_module(f"teinet.cli.data.{argv[0]}")
    parser = Parser(prog=f"teinet data {argv[0]}", description=ACTIONS[argv[0]])
    action.add_arguments(parser)
    return action.run(parser.parse_args(argv[1:]))
