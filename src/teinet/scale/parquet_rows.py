"""The rows of a job as Parquet files that grow while it runs; one process writes them, so no row is written twice."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from teinet.errors import RunError
from teinet.utils.files import replacing
from teinet.utils.journal import Journal

_ROWS, _SECONDS = 50_000, 30.0  # of a file: what a kill costs at most


class Results:
    """A folder of Parquet files; each is complete or has no name yet.

    Args:
        folder: created if it is missing.
        command: the command that fills it, `predict`.
        settings: what the rows depend on, by the names of the options; those of an earlier command must be equal.
        schema: of the rows; the column `path` says which file a row is of.
        overwrite: remove the rows of an earlier command.

    Raises:
        ConfigError: the folder was filled by another command, or with other settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        command: str,
        settings: Mapping[str, Any],
        schema: pa.Schema,
        *,
        overwrite: bool = False,
    ):
        self.folder, self.schema = Path(folder), schema
        self.folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(self.folder / "_settings.json", command, settings)
        if overwrite:
            journal.path.unlink(missing_ok=True)
            for part in self._parts():
                part.unlink()
        journal.read()
        journal.start()
        journal.close()
        self._next = 1 + max((int(part.stem.partition("-")[2]) for part in self._parts()), default=0)
        self._waiting: list[pa.Table] = []
        self._since = time.monotonic()

    def finished(self) -> pa.ChunkedArray:
        """Return the paths whose rows an earlier command has written; RunError for a damaged file."""
        found = []
        for part in self._parts():
            try:
                found += pq.read_table(part, columns=["path"]).column("path").chunks
            except (pa.ArrowInvalid, OSError) as error:
                raise RunError(f"{part}: cannot be read ({error}); without it, its rows are made again") from None
        return pa.chunked_array(found, pa.string())

    def add(self, rows: pa.Table) -> None:
        """Take the rows of some files, all of each; write those that wait if they are many or wait long."""
        self._waiting.append(rows.cast(self.schema))
        if sum(map(len, self._waiting)) >= _ROWS or time.monotonic() - self._since > _SECONDS:
            self.write()

    def write(self) -> None:
        """Write the rows that wait."""
        if self._waiting:
            with replacing(self.folder / f"part-{self._next:06d}.parquet") as part:
                pq.write_table(pa.concat_tables(self._waiting), part)
            self._next += 1
        self._waiting, self._since = [], time.monotonic()

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))
