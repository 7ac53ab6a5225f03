"""`teinet COMMAND ...`: finds the command, runs it, and turns every user's mistake into one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib import import_module

from teinet.errors import TeinetError, nearest

COMMANDS = {
    "demo": "the whole main job on embedded data, a few minutes on two cores",
    "train": "train a network on labelled clips",
    "test": "measure a trained network",
    "predict": "name the action in files and folders",
    "data": "draw the embedded data set",
    "models": "list the networks that can be built",
}

_EPILOG = """\
commands:
{commands}

teinet COMMAND --help says more. Exit codes: 0 all went well, 1 something could not be done (its
reason is printed, everything else was done), 2 wrong arguments, data or weights, 130 stopped by Ctrl-C.
"""


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<9} {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="teinet",
        description="Recognise actions in video with 2-D networks and cheap, learnable time.",
        epilog=_EPILOG.format(commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="teinet COMMAND ...",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        _parser().print_help()
        return 0 if argv else 2
    if argv[0] == "--version":
        from teinet import __version__

        print(__version__)
        return 0
    name = argv[0]
    if name not in COMMANDS:
        print(f"teinet: there is no command {name!r}.{nearest(name, COMMANDS)} See teinet --help", file=sys.stderr)
        return 2
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # of the processes of a run on several devices, one speaks
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("teinet").setLevel(logging.INFO if first else logging.CRITICAL)
    try:
        command = import_module(f"teinet.cli.{name}")
        if hasattr(command, "main"):  # reads typed recipes itself
            return command.main(argv[1:])
        parser = argparse.ArgumentParser(prog=f"teinet {name}", description=COMMANDS[name])
        command.add_arguments(parser)
        return command.run(parser.parse_args(argv[1:]))
    except TeinetError as error:
        if first:
            print(f"teinet {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"teinet {name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `teinet ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        if error.filename is None or error.strerror is None:
            raise
        print(f"teinet {name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
