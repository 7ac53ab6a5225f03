"""The command `teinet`: find the command, run it, and turn a user's mistake into one line and an exit code."""

from __future__ import annotations

import argparse
import codecs
import errno
import io
import logging
import os
import sys
from importlib import import_module

from teinet.cli.parser import Command
from teinet.errors import Interrupted, TeinetError, missing_extra, nearest
from teinet.utils.addresses import TALLY, hidden
from teinet.utils.memory import keep_freed_memory
from teinet.utils.signals import first_of_machine, interrupt_on_sigterm
from teinet.utils.text import escaped

COMMANDS = {
    "demo": "draw a small data set, train and test TSN and TEINet on it; minutes on two cores",
    "train": "train a network on labeled clips",
    "probe": "the best head on a frozen backbone, for a few hundred clips, in minutes",
    "test": "measure a trained network",
    "predict": "recognize the action in files and folders",
    "embed": "write the features of videos, for search and other tools",
    "timeline": "find events in long recordings",
    "watch": "find events in live video: cameras, streams",
    "serve": "answer over HTTP: predictions, timelines, live events, and a page to try it",
    "explain": "a page that shows where a network looked in a clip, its gates and kernels",
    "report": "compare runs with each other and with the paper, as a table or a page",
    "data": "inspect lists of clips; check, shrink and convert them; draw the embedded data set",
    "models": "list networks and their cost, and pretrained models",
    "recipes": "list the recipes that reproduce the paper's tables",
    "info": "versions, devices and kernels on this machine; of a model, its card",
    "convert": "convert other projects' weights",
    "export": "a file that runs without PyTorch: ONNX, OpenVINO, a page",
    "benchmark": "measure what networks cost on this machine, next to the paper's Table 2",
}

# Commands of other tools, and what does the same here.
_OTHER_COMMANDS = {
    "val validate eval evaluate": "Use teinet test",
    "infer inference recognize classify": "Use teinet predict",
    "detect track localize": "Use teinet timeline for recordings, teinet watch for live video",
    "live stream camera": "Use teinet watch",
    "fit finetune fine-tune": "Use teinet train (to fine-tune, --weights names the weights to start from)",
    "compare plot summary": "Use teinet report",
    "visualize gradcam": "Use teinet explain",
    "inspect check shrink draw": "Use teinet data {0}",
    "bench speed profile": "Use teinet benchmark",
    "list zoo": "Use teinet models",
    "env settings version checks": "Use teinet info",
    "server api http deploy": "Use teinet serve",
    "help": "Use teinet --help, or teinet COMMAND --help",
}

_EPILOG = """\
commands:
{commands}

teinet COMMAND --help says more. Exit codes: 0 success, 1 something could not be done (the reason is
printed, the rest was done), 2 wrong arguments, data or weights, 130 stopped by Ctrl-C.
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
    """Run one command and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    _print_all_names()
    if not argv or argv[0] in ("-h", "--help"):
        _parser().print_help()
        return 0 if argv else 2
    if argv[0] == "--version":
        from teinet import __version__

        print(__version__)
        return 0
    name = argv[0]
    if name.startswith("-"):
        print(f"teinet: options come after a command; {name} is none. See teinet --help", file=sys.stderr)
        return 2
    if name not in COMMANDS:
        print(f"teinet: there is no command {name!r}.{_advice(name)} See teinet --help", file=sys.stderr)
        return 2
    first = first_of_machine()
    if first:
        os.environ.pop(TALLY, None)  # of a command that started this one
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("teinet").setLevel(logging.INFO if first else logging.CRITICAL)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # each retry would be a line of its own
    interrupt_on_sigterm()  # so that what was computed is kept
    keep_freed_memory()
    try:
        module = import_module(f"teinet.cli.{name}")
        if argv[1:2] and argv[1] in getattr(module, "ACTIONS", ()):
            name = f"{name} {argv[1]}"
        if hasattr(module, "ACTIONS"):
            code = module.main(argv[1:])
        else:
            command = module.command() if hasattr(module, "command") else Command(module.run)
            code = command.run(command.parse(name, argv[1:]))
        sys.stdout.flush()  # a full disk or a closed pipe must be found here, where it can be said
        return code
    except TeinetError as error:
        if first:
            _print_error(name, str(error))
        elif isinstance(error, Interrupted):
            return 0  # at another code Lightning kills the first process, maybe before it has spoken
        return error.exit_code
    except ModuleNotFoundError as error:
        if (advice := missing_extra(error)) is None:
            raise
        _print_error(name, advice)
        return 2
    except KeyboardInterrupt:
        _print_error(name, "stopped")
        return 130
    except BrokenPipeError:  # `teinet ... | head`
        _drop_output()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        where = "" if error.filename is None else f"{error.filename}: "
        _print_error(name, f"{where}{error.strerror or error}")
        if error.errno == errno.ENOSPC:
            _drop_output()  # Python would try to write the rest of it at its end, and fail again
        return 1
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        _print_error(name, f"not enough memory; {_LOWER.get(name, _LOWER_ELSEWHERE)}")
        return 1
    finally:
        if first:
            _print_bytes_read()


def _print_bytes_read() -> None:
    """Print how much a command with files at addresses has read from their stores."""
    if remote := sys.modules.get("teinet.data.remote"):  # not loaded for this alone
        from teinet.utils.text import count, file_size

        number, requests = remote.bytes_read()
        if requests:
            print(f"read {file_size(number)} in {count(requests, 'request')} from stores", file=sys.stderr)


def _print_all_names() -> None:
    """Let standard output and errors escape what their encoding lacks, such as names of files in a pipe on Windows."""
    codecs.register_error("teinet.escaped", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="teinet.escaped")


def _advice(name: str) -> str:
    for words, ours in _OTHER_COMMANDS.items():
        if name.lower() in words.split():
            return f" {ours.format(name.lower())}."
    if os.path.exists(name):
        return " A command comes first, such as teinet predict WEIGHTS VIDEO."
    return nearest(name, COMMANDS)


_LONGEST = 2000  # characters of an error

# What makes a command need less memory.
_LOWER = {
    "train": "set optim.gradient_checkpointing to blocks, or lower optim.batch_size (--batch-size; optim.accumulate "
    "makes up for it), clip.size or model.num_frames",
    "test": "lower --batch-size, --workers, or the crops and clips of --views",
    "predict": "lower --batch-size or the crops and clips of --views, or take --device cpu",
    "serve": "lower --batch-size or --workers, or take --device cpu",
}
_LOWER_ELSEWHERE = "close what else uses this machine"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, here not imported
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's on a CPU


def _print_error(name: str, text: str) -> None:
    line = hidden(" ".join(text.split()))
    if len(line) > _LONGEST:  # it quotes a damaged file
        line = f"{line[:_LONGEST]}..."
    print(f"teinet {name}: {line}", file=sys.stderr)


def _drop_output() -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file of the system
        pass


if __name__ == "__main__":
    sys.exit(main())
