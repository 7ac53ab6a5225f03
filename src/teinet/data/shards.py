"""Clips in shards: large files that hold the bytes of many clips, one after the other, as stores like to read them.

The path of such a clip names the shard, and where the clip's bytes are: `shard-000003.tar#1536+20480/clip.mp4`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from teinet.data import remote

WINDOW = 4  # shards whose clips are shuffled together
_CLIP = re.compile(r"(.+?\.(?:tar|parquet))#(\d+)\+(\d+)/[^/]+")
_touched: set[str] = set()  # remote shards of which this process has read one clip


class ShardPart(NamedTuple):
    """A clip's bytes in a shard."""

    shard: str
    offset: int
    length: int


def path_in_shard(shard: str, offset: int, length: int, name: str) -> str:
    """Return the path of a clip in a shard; `name` is that of its file."""
    return f"{shard}#{offset}+{length}/{name}"


def shard_part(path: str) -> ShardPart | None:
    """Return where a clip's bytes are; None for a file of its own."""
    found = _CLIP.fullmatch(path) if "#" in path else None
    return None if found is None else ShardPart(found[1], int(found[2]), int(found[3]))


def status_of(path: str | os.PathLike[str]) -> tuple[str, int, int, int]:
    """Return a name for a clip and three numbers that change with its content, first its size; OSError if missing."""
    path = os.fspath(path)
    part = shard_part(path)
    file = part.shard if part else path
    if address := remote.address_behind(file):
        known = remote.status(address)
        name, facts = address, (known.size or 0, known.version, 0)
    else:
        from teinet.utils.files import changed_ns

        status = os.stat(file)
        name, facts = os.path.abspath(file), (status.st_size, status.st_mtime_ns, changed_ns(status))
    if part is None:
        return name, *facts
    if part.offset + part.length > facts[0]:
        raise OSError(5, f"the shard has {facts[0]} bytes, fewer than its index says; write it again")
    return path_in_shard(name, part.offset, part.length, ""), part.length, *facts[1:]


@contextmanager
def opened(path: str, *, once: bool = False) -> Iterator[Any]:
    """Give what FFmpeg opens for a file, a clip in a shard or an address: a name with protocol, or a file object.

    A clip of a remote shard is read alone; at the second one of the same shard the whole shard is.
    """
    with _local(path, once=once) as (file, part):
        if not isinstance(file, str):
            yield file
        elif part is None:
            yield f"file:{file}"  # "file:" prevents FFmpeg from reading a colon in the name as a protocol
        else:
            yield f"subfile,,start,{part.offset},end,{part.offset + part.length},,:file:{file}"


@contextmanager
def opened_bytes(path: str) -> Iterator[BinaryIO]:
    """Open the bytes of a file, a clip in a shard or an address; they can be sought."""
    with _local(path) as (file, part):
        if not isinstance(file, str):
            yield file
            return
        with open(file, "rb") as whole:
            yield whole if part is None else io.BufferedReader(_Section(whole, part))  # type: ignore[misc]


@contextmanager
def _local(path: str, *, once: bool = False) -> Iterator[tuple[Any, ShardPart | None]]:
    """Give a local file and the clip's part of it, or a file object of ranges."""
    path = os.fspath(path)
    part = shard_part(path)
    address = remote.address_behind(part.shard if part else path)
    if address is None:
        yield os.path.abspath(part.shard if part else path), part
        return
    if part is None:
        with remote.opened(address, once=once) as held:
            yield (os.fspath(held) if isinstance(held, Path) else held), None
        return
    alone = not remote.fits(address) or (address not in _touched and not remote.is_cached(address))
    _touched.add(address)
    with remote.opened(address, part=(part.offset, part.length) if alone else None) as held:
        yield os.fspath(held), None if alone else part


class _Section(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, whole: BinaryIO, part: ShardPart):
        self._whole, self._part, self._at = whole, part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._part.length)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._whole.seek(self._part.offset + self._at)
        content = self._whole.read(max(0, min(len(buffer), self._part.length - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def shard_numbers(paths: Sequence[str]) -> np.ndarray | None:
    """Return the number (N,) of each clip's shard; None unless all clips are in shards."""
    names: dict[str, int] = {}
    found = []
    for path in paths:
        if (part := shard_part(path)) is None:
            return None
        found.append(names.setdefault(part.shard, len(names)))
    return np.array(found, np.int64) if found else None


def shard_order(shards: np.ndarray, rng: np.random.Generator, window: int = WINDOW) -> np.ndarray:
    """Return the clips (N,) in random order, but those of a few shards at a time: each shard is read in one stretch."""
    shuffled = rng.permutation(int(shards.max()) + 1)
    place = np.empty_like(shuffled)
    place[shuffled] = np.arange(len(shuffled))
    clips = rng.permutation(len(shards))
    return clips[np.argsort(place[shards[clips]] // window, kind="stable")]
