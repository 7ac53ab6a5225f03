"""`teinet COMMAND ACTION ...`: a command that is a package, with a module for each of its actions."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module

from teinet.cli.parser import Parser
from teinet.errors import ConfigError, nearest


def run_action(command: str, argv: list[str], actions: Mapping[str, str], *, description: str, epilog: str) -> int:
    """Run `teinet.cli.COMMAND.ACTION` with the words behind the action; returns the exit code.

    Args:
        command: the command's name.
        argv: the words behind it.
        actions: what each action does, by its name.
        description, epilog: of the command's help.

    Raises:
        ConfigError: an action that does not exist.
    """
    if not argv or argv[0].startswith("-"):
        listed = "\n".join(f"  {name:<9} {what}" for name, what in actions.items())
        parser = Parser(
            prog=f"teinet {command}",
            usage=f"teinet {command} ACTION ...",
            description=description,
            epilog=f"actions:\n{listed}\n\n{epilog} teinet {command} ACTION --help says more.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if argv:
            parser.parse_args(argv)
        parser.print_help()
        return 2
    name = argv[0]
    if name not in actions:
        raise ConfigError(f"there is no action {name!r}.{nearest(name, actions)} See teinet {command} --help")
    action = import_module(f"teinet.cli.{command}.{name}")
    parser = Parser(prog=f"teinet {command} {name}", description=actions[name])
    action.add_arguments(parser)
    return action.run(parser.parse_args(argv[1:]))
