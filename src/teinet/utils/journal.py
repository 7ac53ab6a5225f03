"""The progress of long work: one JSON object a line, from which the same command resumes."""

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
    """A file with one header line and one line for each finished item. It survives a crash of the process.

    Args:
        command: the command that writes it, e.g. `data shrink`.
        settings: JSON values that must be equal to resume, by the names of their options.
    """

    def __init__(self, path: str | os.PathLike[str], command: str, settings: Mapping[str, Any] | None = None):
        self.path = Path(path)
        self._head: Record = {"teinet": command, "settings": dict(settings or {})}
        self._file: Any = None

    def read(self) -> list[Record]:
        """Return the records of an earlier command, in order, without incomplete lines; empty if there is no file.

        Raises:
            ConfigError: the file is another command's, or has other settings.
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
            raise ConfigError(f"{self.path}: was not written by `teinet {command}`; choose another output")
        settings = self._head["settings"]  # an older command's may lack some
        if any(lines[0]["settings"].get(name, value) != value for name, value in settings.items()):
            was = ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in lines[0]["settings"].items())
            raise ConfigError(f"{self.path}: was started with {was}; use these settings, or choose another output")
        return lines[1:]

    def start(self, records: Iterable[Record] = ()) -> None:
        """Rewrite the file atomically with the records that are still valid; `add` appends to it.

        Raises:
            OSError: the file cannot be written.
        """
        with replacing(self.path) as part, part.open("w", encoding="ascii") as file:
            for record in (self._head, *records):
                file.write(json.dumps(record) + "\n")
        self._file = self.path.open("a", encoding="ascii", buffering=1)

    def add(self, record: Record) -> None:
        """Append a record and write it out."""
        self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file, if `start` opened it."""
        if self._file is not None:
            self._file.close()
