"""Remembers what was learned of a video file: in this process, and in a small SQLite file for the next one.

A convenience only: wherever the file cannot be read or written, everything works without it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from teinet.utils.files import cache_folder

SCHEMA = 2  # raise it whenever the payload's meaning changes: older rows are then not found
_MEMORY_ENTRIES = 8192

Key = tuple[str, int, int]  # absolute path, size, modification time in ns

_memory: OrderedDict[Key, object] = OrderedDict()
_lock = threading.Lock()
# A worker forked while another thread holds the lock would wait for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def key_of(path: str | os.PathLike[str]) -> Key:
    """Identify a file's present content; OSError where it is missing."""
    absolute = os.path.abspath(path)
    status = os.stat(absolute)
    return absolute, status.st_size, status.st_mtime_ns


def cache_file() -> Path:
    """Return where the SQLite file lies."""
    return cache_folder() / f"frames-{SCHEMA}.sqlite"


def get_memory(key: Key) -> object | None:
    """Return what this process remembers of a file."""
    with _lock:
        if key in _memory:
            _memory.move_to_end(key)
        return _memory.get(key)


def put_memory(key: Key, value: object) -> None:
    """Remember in this process; the entries used longest ago are forgotten."""
    with _lock:
        _memory[key] = value
        _memory.move_to_end(key)
        while len(_memory) > _MEMORY_ENTRIES:
            _memory.popitem(last=False)


def clear_memory() -> None:
    """Forget what this process remembers."""
    with _lock:
        _memory.clear()


def get_disk(key: Key) -> bytes | None:
    """Return the payload stored for a file, None where there is none or the cache is of no use."""
    try:
        if not cache_file().exists():
            return None
        with _database() as database:
            query = "SELECT payload FROM frames WHERE path = ? AND size = ? AND mtime_ns = ?"
            row = database.execute(query, key).fetchone()
        return bytes(row[0]) if row else None
    except (OSError, sqlite3.Error, UnicodeError):
        return None


def put_disk(key: Key, payload: bytes) -> None:
    """Store a payload for a file, in place of any earlier one for that path."""
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        with _database() as database, database:
            database.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?)", (*key, payload))
    except (OSError, sqlite3.Error, UnicodeError):
        pass


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    # Opened for each use: a connection must not cross a fork, and data workers fork.
    with closing(sqlite3.connect(cache_file(), timeout=2)) as database:
        # A crash may lose the newest counts, which are then counted again: no need to wait for the disk.
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "CREATE TABLE IF NOT EXISTS frames"
            " (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, payload BLOB) WITHOUT ROWID"
        )
        yield database
