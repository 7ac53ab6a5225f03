"""What can go wrong, said to the user: what, where, what to do. The command line prints these without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TeinetError(Exception):
    """Base of every error that a user can cause and fix. `exit_code` is the command's exit status."""

    exit_code = 2


class VideoError(TeinetError):
    """A video that cannot be read: `path` names it, `reason` says why."""

    exit_code = 1

    def __init__(self, path: object, reason: str):
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self):  # crosses process borders in data workers
        return type(self), (self.path, self.reason)


class AnnotationError(TeinetError):
    """A list of clips that does not say what it should; names the file and, where there is one, the line."""

    def __init__(self, file: object, reason: str, line: int | None = None):
        self.file = str(file)
        self.line = line
        self.reason = reason
        where = self.file if line is None else f"{self.file}, line {line}"
        super().__init__(f"{where}: {reason}")

    def __reduce__(self):
        return type(self), (self.file, self.reason, self.line)


class CheckpointError(TeinetError):
    """A weights file that is broken or belongs to another network."""


class ConfigError(TeinetError):
    """A setting that does not exist or does not fit; the message offers the nearest valid name."""


class RunError(TeinetError):
    """A run that had to stop (NaN loss, too many unreadable clips); what it had computed is kept."""

    exit_code = 1


class Interrupted(TeinetError):
    """Work that Ctrl-C or SIGTERM stopped; the message says how far it came and how to go on."""

    exit_code = 130


# The distributions beyond the core, by the extra that installs them and the module that a command imports.
EXTRAS = {
    "train": ("lightning", "jsonargparse", "sklearn", "tensorboard", "yaml", "filelock", "docstring_parser", "pebble"),
    "report": ("jinja2", "matplotlib"),
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return what to install where a module of an extra is missing; None where the module belongs to none."""
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    return f"{module} is missing, which this needs; install it with: pip install 'teinet[{extra}]'"


def nearest(name: str, valid: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the closest of `valid` to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
