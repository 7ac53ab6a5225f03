"""Errors that a user can fix: what happened, where, and what to do. Commands print them without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Real

from teinet.utils.addresses import without_secrets


class TeinetError(Exception):
    """Base of every error that a user can cause and fix. `exit_code` is the command's exit status."""

    exit_code = 2


class VideoError(TeinetError):
    """A video that cannot be read: `path` names it, `reason` says why."""

    exit_code = 1

    def __init__(self, path: object, reason: str):
        self.path = without_secrets(str(path)) if "://" in str(path) else str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self):  # crosses process borders in data workers
        return type(self), (self.path, self.reason)


class AnnotationError(TeinetError):
    """An error in a list of clips; names the file and, if known, the line."""

    def __init__(self, file: object, reason: str, line: int | None = None):
        self.file = str(file)
        self.line = line
        self.reason = reason
        where = self.file if line is None else f"{self.file}, line {line}"
        super().__init__(f"{where}: {reason}")

    def __reduce__(self):
        return type(self), (self.file, self.reason, self.line)


class CheckpointError(TeinetError):
    """A weights file that is damaged or belongs to another network."""


class ConfigError(TeinetError):
    """A setting that does not exist or has an invalid value; the message suggests the closest valid name."""


class RunError(TeinetError):
    """A run that had to stop (NaN loss, too many unreadable clips); results up to that point are kept."""

    exit_code = 1


class Interrupted(TeinetError):
    """Work stopped by Ctrl-C or SIGTERM; the message says how much was done and how to continue."""

    exit_code = 130


def check_numbers(**values: object) -> None:
    """Raise ConfigError for an argument that is neither a number nor None."""
    for name, value in values.items():
        if value is not None and not isinstance(value, Real):
            raise ConfigError(f"{name} is {value!r}; it must be a number")


# Modules beyond the core dependencies, by the extra that installs them.
EXTRAS = {
    "train": ("lightning", "sklearn", "scipy", "tensorboard", "yaml", "filelock", "pebble"),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "pydantic", "starlette"),
    "report": ("jinja2", "matplotlib"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "parquet": ("pyarrow",),
    "remote": ("fsspec", "s3fs", "aiohttp"),
    "scale": ("ray",),
    "openvino": ("openvino",),
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return the pip command that installs a missing module of an extra; None if the module is in no extra."""
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    return f"the module {module} is missing; install it with: pip install 'teinet[{extra}]'"


def nearest(name: str, valid: Iterable[str], cutoff: float = 0.65) -> str:
    """Return ` Did you mean 'x'?` with the name in `valid` closest to `name` in any case, or an empty string."""
    by_key = {each.casefold(): each for each in valid}
    close = difflib.get_close_matches(name.casefold(), by_key, n=1, cutoff=cutoff)
    return f" Did you mean {by_key[close[0]]!r}?" if close else ""
