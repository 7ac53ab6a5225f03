"""Atomic writes, which survive a crash or a power cut; and the cache folder."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from teinet.utils.text import one_text, spelling_key


def cache_folder() -> Path:
    """Return the cache folder: $TEINET_CACHE, else $XDG_CACHE_HOME/teinet, else ~/.cache/teinet."""
    folder = os.environ.get("TEINET_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "teinet"


def changed_ns(status: os.stat_result) -> int:
    """Return when a file was changed last, in ns; unlike the time of modification it cannot be set (but on Windows)."""
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def other_spelling(path: str | os.PathLike[str]) -> str:
    """Return how a missing file's or folder's name differs from those on disk, if by its spelling only; else ""."""
    path = os.fspath(path)
    if os.sep == "/" and ("\\" in path or re.search(r"(?:^|/)[A-Za-z]:/", path)):
        return "the path is one of Windows (a backslash or a drive's letter); write paths of this machine, with slashes"
    folder, name = os.path.split(path.rstrip(os.sep))
    while name and folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
    try:
        found = _spellings(folder or os.curdir, os.stat(folder or os.curdir).st_mtime_ns).get(spelling_key(name))
    except (OSError, ValueError):
        return ""
    if not name or found in (None, name):
        return ""
    how = "Unicode form" if one_text(found, name) else "case or Unicode form"
    return f"{folder or os.curdir} has {found!r}, of another {how}"


@lru_cache(maxsize=64)
def _spellings(folder: str, _mtime_ns: int) -> dict[str, str]:
    return {spelling_key(name): name for name in os.listdir(folder)}


def is_plain_zip(path: str | os.PathLike[str]) -> bool:
    """Return true for a zip file without compression, as torch and numpy write them; another may fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            return 0 < sum(entry.file_size for entry in archive.infolist()) <= os.path.getsize(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def part_of(path: Path) -> Path:
    """Return the temporary path of `replacing`."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def replacing(path: str | os.PathLike, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path` that replaces it if the block succeeds, and is removed if not.

    The content is flushed to disk before the rename, so `path` has the old content or the new one, never part of it.

    Args:
        shared: several processes may write the file at once, each under a name of its own; a killed one leaves its
            part. Without it, the next writer removes that part, and two must not write at once.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; `path` is unchanged.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") if shared else part_of(path)
    try:
        yield part
        to_disk(part)
        os.replace(part, path)
    except OSError as error:
        if error.errno is not None and str(error.filename) in ("None", str(part)):
            error.filename = str(path)  # the name that the user knows; a full disk names none
        raise
    finally:
        part.unlink(missing_ok=True)
    with suppress(OSError):  # the new name itself; not every system opens folders
        to_disk(path.parent, os.O_RDONLY)


def write_text(path: str | os.PathLike, text: str, *, errors: str = "surrogateescape") -> None:
    """Write UTF-8 atomically, line ends unchanged; `errors` as in `str.encode` (file names may be no valid UTF-8)."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors=errors, newline="")


def write_csv(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a csv atomically."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def write_findings(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows as a csv; without any, remove that of an earlier command."""
    if rows:
        write_csv(path, columns, rows)
    else:
        path.unlink(missing_ok=True)


def to_disk(path: Path, mode: int = os.O_RDWR) -> None:
    """Wait until a file's content, or the names in a folder (opened with `os.O_RDONLY`), are on the disk."""
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
