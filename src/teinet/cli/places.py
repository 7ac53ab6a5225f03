"""Where commands write: found out before the work, not after it, and never over what they read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from teinet.errors import ConfigError


def keep_apart(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path]) -> None:
    """See that no option writes over what the command reads, or over what another option writes.

    Args:
        outputs: the file of each option, such as {"--output": "found.csv"}; None where it was not given. Devices and
            pipes, such as /dev/stdout, take anything.
        inputs: files that the command reads.

    Raises:
        ConfigError: two are one file, by whatever name.
    """
    taken = {key: "which this command reads" for path in inputs for key in _keys(path)}
    for option, path in outputs.items():
        if not path or _is_special(path):
            continue
        for key in _keys(path):
            if key in taken:
                raise ConfigError(f"{option} {path} would write over a file {taken[key]}; name another one")
        taken |= dict.fromkeys(_keys(path), f"that {option} writes")


def check_file(path: str | Path) -> None:
    """See that a file can be written.

    Raises:
        ConfigError: it is a folder, its folder does not exist, or it may not be written.
    """
    file = Path(path)
    folder = Path(os.path.realpath(path)).parent  # of what a link leads to
    if file.is_dir():
        why = "it is a folder"
    elif not file.exists() and not folder.is_dir():
        why = "its folder does not exist"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        why = "it may not be written"
    else:
        return
    raise ConfigError(f"{path}: cannot be written ({why})")


def check_output(path: str, inputs: Iterable[str | Path]) -> None:
    """See that `--output` can be written, and is none of the files that the command reads.

    Raises:
        ConfigError: it cannot, or is one of them.
    """
    check_file(path)
    keep_apart({"--output": path}, inputs)


def make_folder(folder: Path, named: str | Path) -> None:
    """Make a folder, with those above it, that is to take files.

    Args:
        folder: the folder.
        named: what the user called it, or the file in it.

    Raises:
        ConfigError: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{named}: cannot be written ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{named}: cannot be written (its folder may not be written)")


def _is_special(path: str | Path) -> bool:
    return Path(path).is_relative_to("/dev") or (os.path.exists(path) and not os.path.isfile(path))


def _keys(path: str | Path) -> list[object]:
    """What tells a file from others: its place, and where it is there what the system knows it by."""
    keys: list[object] = [os.path.realpath(path)]
    if os.path.isfile(path):
        status = os.stat(path)
        keys.append((status.st_dev, status.st_ino))
    return keys
