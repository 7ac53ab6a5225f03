"""The files of a manifest as one Arrow array, so that a million are no Python objects; and their local copies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from teinet.data.find_videos import find_videos
from teinet.data.video.reader import VIDEO_SUFFIXES
from teinet.errors import ConfigError

pc: Any = pyarrow.compute  # whose functions are made when it is imported
_LISTS = (".csv", ".parquet")
_ABSOLUTE = r"^(?:/|[A-Za-z]:[\\/]|[A-Za-z0-9+.-]+://)"


def read_manifest(names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> pa.Array:
    """Return the paths of a manifest, each once.

    Args:
        names: one or several of: a .csv or .parquet file with a column `path`, relative to the file's folder; a video,
            a folder or a pattern; `s3://bucket/prefix` or another address that fsspec knows, of a list or of videos.

    Raises:
        ConfigError: a list that cannot be read or has no such column, or no videos at all.
    """
    several = [names] if isinstance(names, (str, os.PathLike)) else names
    given = [os.fspath(name) for name in several]
    found = [part for name in given for part in _read(name)]
    if others := [name for name in given if not _is_special(name)]:
        found.append(pa.array([str(path) for path in find_videos(others)], pa.string()))
    paths = pc.unique(pa.chunked_array(found, pa.string()))
    if not len(paths):
        raise ConfigError(f"{', '.join(given)}: no videos")
    return paths


@contextmanager
def local_path(address: str) -> Iterator[str]:
    """Give the local path of a file in the block: the address itself, or a copy of what an object store has there."""
    if "://" not in address:
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="teinet-") as folder:
        copy = os.path.join(folder, PurePosixPath(address).name)
        files, path = fsspec.core.url_to_fs(address)
        files.get_file(path, copy)
        yield copy


def _is_special(name: str) -> bool:
    return "://" in name or (name.lower().endswith(_LISTS) and not os.path.isdir(name))


def _read(name: str) -> Iterator[pa.Array]:
    if not _is_special(name):
        return
    try:
        if name.lower().endswith(_LISTS):
            yield from (_from_folder(part, name) for part in _column(name))
        else:
            files, path = fsspec.core.url_to_fs(name)
            kept = [each for each in files.find(path) if PurePosixPath(each).suffix.lower() in VIDEO_SUFFIXES]
            yield pa.array([files.unstrip_protocol(each) for each in kept], pa.string())
    except (OSError, ImportError, ValueError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ConfigError(f"{name}: cannot be read as a list of videos: {error}") from None


def _column(name: str) -> Iterator[pa.Array]:
    """Yield the column `path` of a list, some thousands of rows at a time."""
    with fsspec.open(name, "rb") as file:
        if name.lower().endswith(".parquet"):
            rows = pq.ParquetFile(file).iter_batches(columns=["path"])
        else:
            only = pa_csv.ConvertOptions(include_columns=["path"], column_types={"path": pa.string()})
            rows = pa_csv.open_csv(file, convert_options=only)
        for batch in rows:
            if "path" not in batch.schema.names:
                raise ValueError("it has no column `path`")
            yield batch.column("path").cast(pa.string()).drop_null()


def _from_folder(paths: pa.Array, name: str) -> pa.Array:
    """Return the paths of a list with its folder before those that are relative, as it is there."""
    folder = os.path.dirname(name)
    joined = pc.binary_join_element_wise(folder or os.curdir, paths, "/") if folder else paths
    return pc.if_else(pc.match_substring_regex(paths, _ABSOLUTE), paths, joined)
