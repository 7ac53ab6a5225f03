"""Shards of a list's clips, written by several processes: tar files as WebDataset reads them, or Parquet files.

The files of the clips go into them as they are. The same command resumes from a journal in the new folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from teinet.data import shards
from teinet.data.lists.formats import Listing
from teinet.data.lists.formats.shard_index import INDEX, MARK
from teinet.data.lists.rows import Row
from teinet.data.tools.checking import records, stamp
from teinet.data.video import image_folder
from teinet.errors import ConfigError, Interrupted, RunError
from teinet.utils import worker_pool as pool
from teinet.utils.files import digest, replacing, write_text
from teinet.utils.journal import Journal
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal
from teinet.utils.text import file_size

Container = Literal["tar", "parquet"]
JOURNAL = "shard.jsonl"
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Sharded:
    """The result of `shard`: the index, and the numbers of shards (some of an earlier command), files, clips and bytes.

    `missing` are the paths of clips that were left out, as their files do not exist.
    """

    index: Path
    shards: int
    resumed: int
    files: int
    clips: int
    bytes: int
    missing: list[str]

    def to_dict(self) -> dict[str, object]:
        """Return the result as JSON values."""
        return {**asdict(self), "index": str(self.index)}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A finished shard, a record of the journal.

    Args:
        name: its file's name.
        content: a hash of its files' paths, sizes and times of change, and of what the list says of them.
        bytes, sha256: of the file.
        places: offset and length of each clip file's bytes in it.
    """

    name: str
    content: str
    bytes: int
    sha256: str
    places: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The files of a shard to be written: the number of each in the whole set, its path and rows, and all classes."""

    name: str
    content: str
    numbers: list[int]
    paths: list[str]
    rows: list[list[Row]]
    classes: dict[str, int]


def shard(
    listing: Listing,
    folder: Path,
    *,
    container: Container = "tar",
    size: int = 256,
    workers: int,
    timeout: float = 60.0,
    console: Console | None = None,
) -> Sharded:
    """Write a list's clips into shards in `folder`, in random order within each split, and their index.

    Args:
        folder: a new folder, or one that this function began to fill.
        size: MB of a shard, unless a single file is larger.
        workers, timeout: see `shrink`.

    Raises:
        ConfigError: `folder` is unsuitable, or a clip is a folder of images.
        OSError: `folder` cannot be written to, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; finished shards are kept.
        RunError: no clip has a file, or one cannot be read.
    """
    journal = Journal(folder / JOURNAL, "data shard", {"container": container, "size": size})
    before = {each.name: each for each in records(journal, Shard)}
    if not journal.path.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: was not written by `teinet data shard`; choose a new or empty folder")
    plans, missing = _plan(listing, container, size * 10**6)
    if not plans:
        raise RunError(f"{listing.source}: none of its clips exist, for example {missing[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {p.name: before[p.name] for p in plans if _is_done(before.get(p.name), p, folder)}
    journal.start(map(asdict, kept.values()))
    resumed, found = len(kept), dict(kept)
    try:
        bars = file_progress(console or Console(quiet=True), "writing shards", len(plans), done=resumed)
        with StopSignal() as stop, bars as advance:
            todo = [plan for plan in plans if plan.name not in kept]
            for done in pool.run(partial(_work, folder, container), todo, workers=workers, timeout=timeout, stop=stop):
                written = done.value
                if isinstance(written, pool.TaskFailure):
                    raise RunError(f"{folder / done.task.name}: {written.reason}; run the same command to continue")
                if isinstance(written, str):
                    raise RunError(f"{written}; repair the file or leave it out, and run the same command to continue")
                found[written.name] = written
                journal.add(asdict(written))
                advance(file_size(sum(each.bytes for each in found.values())))
    finally:
        journal.close()
    if len(found) < len(plans):
        done = f"stopped after {len(found)} of {len(plans)} shards in {folder}"
        raise Interrupted(f"{done}; run the same command to continue")
    clips = _write_index(folder, container, listing, plans, found)
    for other in set(os.listdir(folder)) - set(found):  # of an earlier command with more clips
        if other.startswith("shard-"):
            (folder / other).unlink()
    return Sharded(
        index=folder / INDEX,
        shards=len(plans),
        resumed=resumed,
        files=sum(len(plan.paths) for plan in plans),
        clips=clips,
        bytes=sum(each.bytes for each in found.values()),
        missing=missing,
    )


def _plan(listing: Listing, container: Container, size: int) -> tuple[list[_Plan], list[str]]:
    """Return what goes into each shard, and the paths without a file."""
    rows: dict[str, list[Row]] = {}
    for row in listing.rows:
        if image_folder.is_folder(row.path):
            raise ConfigError(f"{row.path}: is a folder of images; shards hold video files")
        rows.setdefault(row.path, []).append(row)
    stamps: dict[str, tuple[int, int]] = {}
    missing = []
    for path in rows:
        try:
            stamps[path] = stamp(path)
        except OSError:
            missing.append(path)
    names = listing.class_names or sorted({label for row in listing.rows for label in row.labels})
    classes = {name: number for number, name in enumerate(names)}
    by_split: dict[str, list[str]] = {}
    for path in stamps:
        by_split.setdefault(rows[path][0].split, []).append(path)
    groups: list[list[str]] = []
    for paths in by_split.values():
        filled = size
        for index in np.random.default_rng(0).permutation(len(paths)):
            path = paths[index]
            if filled + stamps[path][0] > size:
                groups.append([])
                filled = 0
            groups[-1].append(path)
            filled += stamps[path][0]
    plans, number = [], 0
    for place, paths in enumerate(groups):
        own = [rows[path] for path in paths]
        said = [[(*row[:6], sorted(row.columns.items()), row.more) for row in rows[path]] for path in paths]
        facts = list(zip(paths, map(stamps.get, paths), said))
        content = hashlib.sha256(repr((number, facts, names)).encode("utf-8", "surrogateescape")).hexdigest()
        numbers = list(range(number, number + len(paths)))
        name = f"shard-{place:06d}.{container}"
        plans.append(_Plan(name=name, content=content, numbers=numbers, paths=paths, rows=own, classes=classes))
        number += len(paths)
    return plans, missing


def _is_done(shard: Shard | None, plan: _Plan, folder: Path) -> bool:
    if shard is None or shard.content != plan.content:
        return False
    try:
        return (folder / plan.name).stat().st_size == shard.bytes
    except OSError:
        return False


def _work(folder: Path, container: Container, plan: _Plan, beat: pool.Beat) -> Shard | str:
    """Write one shard, in a worker process; return why a clip's file cannot be read."""
    target = folder / plan.name
    with replacing(target) as part:
        write = _write_tar if container == "tar" else _write_parquet
        try:
            places = write(part, plan, beat)
        except _Unread as error:
            return str(error)
        facts: dict[str, Any] = {"bytes": part.stat().st_size, "sha256": digest(part)}
    return Shard(name=plan.name, content=plan.content, places=places, **facts)


class _Unread(Exception):
    """A clip's file that cannot be read, in words."""


def _content(path: str) -> bytes:
    try:
        with shards.opened_bytes(path) as file:
            return file.read()
    except OSError as error:
        raise _Unread(f"{path}: {error.strerror or error}") from None


def _facts(rows: list[Row]) -> dict[str, Any]:
    """Return what a list says of one file, for readers that do not know the index."""
    names = ("labels", "split", "start", "end", "name")
    said = [{**row.columns, **{name: getattr(row, name) for name in names}} for row in rows]
    return {"name": _name(rows[0].path), "clips": said}


def _name(path: str) -> str:
    return os.path.basename(path.partition("?")[0] if "://" in path else path)


def _write_tar(part: Path, plan: _Plan, beat: pool.Beat) -> list[list[int]]:
    places = []
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:

        def add(name: str, content: bytes) -> int:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            offset = tar.offset + _BLOCK
            tar.addfile(entry, io.BytesIO(content))
            beat()
            return offset

        for number, path, rows in zip(plan.numbers, plan.paths, plan.rows):
            key, content = f"{number:09d}", _content(path)
            suffix = os.path.splitext(_name(path))[1].lower() or ".mp4"
            places.append([add(f"{key}{suffix}", content), len(content)])
            add(f"{key}.json", json.dumps(_facts(rows)).encode())
            if len(rows) == 1 and len(rows[0].labels) == 1:
                add(f"{key}.cls", str(plan.classes[rows[0].labels[0]]).encode())
    return places


def _write_parquet(part: Path, plan: _Plan, beat: pool.Beat) -> list[list[int]]:
    """Write clips without compression and dictionary, so that each one's bytes are in one piece behind their length."""
    import pyarrow as pa
    import pyarrow.parquet

    fields = [("key", pa.string()), ("name", pa.string()), ("video", pa.binary()), ("json", pa.string())]
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    heads, places = [], []
    with pyarrow.parquet.ParquetWriter(str(part), pa.schema(fields), **plain) as writer:
        for number, path, rows in zip(plan.numbers, plan.paths, plan.rows):
            content = _content(path)
            values = (f"{number:09d}", _name(path), content, json.dumps(_facts(rows)))
            writer.write_table(pa.table([[value] for value in values], schema=pa.schema(fields)))  # a group for each
            heads.append(struct.pack("<i", len(content)) + hashlib.sha256(content).digest())
            beat()
    groups = pyarrow.parquet.ParquetFile(str(part)).metadata
    with part.open("rb") as written:
        for group, head in enumerate(heads):
            column, length = groups.row_group(group).column(2), struct.unpack("<i", head[:4])[0]
            at = column.data_page_offset + column.total_compressed_size - length  # the value ends its page
            written.seek(at - 4)
            if written.read(4) != head[:4] or hashlib.sha256(written.read(length)).digest() != head[4:]:
                raise RunError(f"{part}: this version of pyarrow writes another form; use --container tar")
            places.append([at, length])
    return places


def _write_index(
    folder: Path, container: Container, listing: Listing, plans: list[_Plan], found: dict[str, Shard]
) -> int:
    """Write the index and return its number of clips."""
    clips = []
    for number, plan in enumerate(plans):
        for path, rows, place in zip(plan.paths, plan.rows, found[plan.name].places):
            for r in rows:
                said = [list(r.labels), r.split, r.start, r.end, r.name, dict(r.columns)]
                clips.append([number, *place, _name(path), *said])
    every = [found[plan.name] for plan in plans]
    own = [{"name": s.name, "bytes": s.bytes, "sha256": s.sha256, "files": len(s.places)} for s in every]
    index = {MARK: 1, "container": container, "class_names": listing.class_names, "shards": own, "clips": clips}
    write_text(folder / INDEX, json.dumps(index, separators=(",", ":")))
    return len(clips)
