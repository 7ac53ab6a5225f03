"""The files of a manifest as one Arrow array, so that a million are no Python objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from teinet.data import remote
from teinet.data.find_videos import find_videos
from teinet.errors import ConfigError
from teinet.utils.addresses import without_secrets

pc: Any = pyarrow.compute  # whose functions are made when it is imported
_LISTS = (".csv", ".parquet")
_ABSOLUTE = r"^(?:/|[A-Za-z]:[\\/]|[A-Za-z0-9+.-]+://)"


def read_manifest(names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> pa.Array:
    """Return the paths of a manifest, each once.

    Args:
        names: one or several of: a .csv or .parquet file with a column `path`, relative to the file's folder; a video,
            a folder or a pattern; each also at an address, as `s3://bucket/prefix/`.

    Raises:
        ConfigError: a list that cannot be read or has no such column, or no videos at all.
    """
    several = [names] if isinstance(names, (str, os.PathLike)) else names
    given = [os.fspath(name) for name in several]
    found = [part for name in given if _is_list(name) for part in _read(name)]
    if others := [name for name in given if not _is_list(name)]:
        found.append(pa.array([str(path) for path in find_videos(others)], pa.string()))
    paths = pc.unique(pa.chunked_array(found, pa.string()))
    if not len(paths):
        raise ConfigError(f"{', '.join(given)}: no videos")
    return paths


def _is_list(name: str) -> bool:
    return name.lower().endswith(_LISTS) and not os.path.isdir(name)


def _read(name: str) -> Iterator[pa.Array]:
    try:
        yield from (_from_folder(part, name) for part in _column(name))
    except (OSError, ImportError, ValueError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"{without_secrets(name)}: cannot be read as a list of videos: {said}") from None


def _column(name: str) -> Iterator[pa.Array]:
    """Yield the column `path` of a list, some thousands of rows at a time."""
    address = remote.address_of(name)
    with remote.opened(address) if address else nullcontext(name) as file:
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
