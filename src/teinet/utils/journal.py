"""What long work has done so far: one JSON object a line, so that the same command continues where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from teinet.errors import ConfigError
from teinet.utils.files import replacing

Record = dict[str, Any]


class Journal:
    """A file whose first line says whose it is, and each other one what was done. Any end of the process keeps it.

    Args:
        command: what writes it, such as `data shrink`.
        settings: JSON values that must be the same to continue, by the names of their options.
    """

    def __init__(self, path: str | os.PathLike[str], command: str, settings: Mapping[str, Any] | None = None):
        self.path = Path(path)
        self._head: Record = {"teinet": command, "settings": dict(settings or {})}
        self._file: Any = None

    def read(self) -> list[Record]:
        """Return what an earlier command recorded, in its order, without lines cut off; nothing where there is no file.

        Raises:
            ConfigError: another command's file, or one with other settings.
        """
        if not self.path.exists():
            return []
        lines: list[Any] = []
        for text in self.path.read_bytes().decode("ascii", "replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        command = self._head["teinet"]
        if not lines or not isinstance(lines[0], dict) or lines[0].get("teinet") != command:
            raise ConfigError(f"{self.path}: is not from `teinet {command}`; name another output")
        if lines[0] != self._head:
            was = ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in lines[0]["settings"].items())
            raise ConfigError(f"{self.path}: was started with {was}; continue with these, or name another output")
        return lines[1:]

    def start(self, records: Iterable[Record] = ()) -> None:
        """Write the file again, whole or not at all, with the records that still hold; `add` appends to it.

        Raises:
            OSError: the file cannot be written.
        """
        with replacing(self.path) as part, part.open("w", encoding="ascii") as file:
            for record in (self._head, *records):
                file.write(json.dumps(record) + "\n")
        self._file = self.path.open("a", encoding="ascii", buffering=1)

    def add(self, record: Record) -> None:
        """Append a record; it is in the file when this returns."""
        self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file, if `start` opened it."""
        if self._file is not None:
            self._file.close()
