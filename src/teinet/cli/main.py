"""`teinet COMMAND ...`: finds the command, runs it, and turns every user's mistake into one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from importlib import import_module

from teinet.cli.memory import keep_freed_memory
from teinet.cli.parser import Parser
from teinet.errors import Interrupted, TeinetError, missing_extra, nearest
from teinet.utils.signals import first_process, interrupt_on_sigterm

COMMANDS = {
    "demo": "the whole main job on embedded data, a few minutes on two cores",
    "train": "train a network on labeled clips",
    "test": "measure a trained network",
    "predict": "name the action in files and folders",
    "timeline": "find events in long recordings",
    "watch": "find events in live video: cameras, streams",
    "explain": "a page that shows where a network looked in a clip, its gates and kernels",
    "report": "one page that compares runs with each other and with the paper",
    "data": "look at lists of clips; check, shrink and convert them; draw the embedded set",
    "models": "list the networks that can be built",
    "recipes": "list the recipes that repeat the paper's tables",
    "info": "versions, devices, FFmpeg and kernels on this machine, for bug reports",
    "convert": "other projects' weights into ours",
    "benchmark": "what networks cost on this machine, next to the paper's Table 2",
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
        description="Recognize actions in video with 2-D networks that understand time.",
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
    first = first_process()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("teinet").setLevel(logging.INFO if first else logging.CRITICAL)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # each retry would be a line of its own
    interrupt_on_sigterm()  # so that what was computed is kept
    keep_freed_memory()
    try:
        command = import_module(f"teinet.cli.{name}")
        if argv[1:2] and argv[1] in getattr(command, "ACTIONS", ()):
            name = f"{name} {argv[1]}"
        if hasattr(command, "main"):  # reads typed recipes itself
            code = command.main(argv[1:])
        else:
            parser = Parser(prog=f"teinet {name}", description=COMMANDS[name])
            command.add_arguments(parser)
            code = command.run(parser.parse_args(argv[1:]))
        sys.stdout.flush()  # a full disk or a closed pipe must be found here, where it can be said
        return code
    except TeinetError as error:
        if first:
            _say(name, str(error))
        elif isinstance(error, Interrupted):
            return 0  # at another code Lightning kills the first process, maybe before it has spoken
        return error.exit_code
    except ModuleNotFoundError as error:
        if (advice := missing_extra(error)) is None:
            raise
        _say(name, advice)
        return 2
    except KeyboardInterrupt:
        _say(name, "stopped")
        return 130
    except BrokenPipeError:  # `teinet ... | head`
        _drop_output()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        where = "" if error.filename is None else f"{error.filename}: "
        _say(name, f"{where}{error.strerror or error}")
        if error.errno == errno.ENOSPC:
            _drop_output()  # Python would try to write the rest of it at its end, and fail again
        return 1
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        _say(name, f"not enough memory; {_LOWER.get(name, _LOWER_ELSEWHERE)}")
        return 1


# What makes a command need less memory.
_LOWER = {
    "train": "set optim.gradient_checkpointing to blocks, or lower optim.batch_size (--batch-size; optim.accumulate "
    "makes up for it), clip.size or model.num_frames",
    "test": "lower --batch-size, --workers, or the crops and clips of --views",
    "predict": "lower the crops and clips of --views, or take --device cpu",
}
_LOWER_ELSEWHERE = "close what else uses this machine"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, here not imported
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's on a CPU


def _say(name: str, text: str) -> None:
    print(f"teinet {name}: {' '.join(text.split())}", file=sys.stderr)


def _drop_output() -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file of the system
        pass


if __name__ == "__main__":
    sys.exit(main())
