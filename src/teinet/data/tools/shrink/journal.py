"""What `teinet data shrink` has written to a folder: one JSON object a line, so that it can go on and harms nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teinet.data.tools.shrink.plan import Job
from teinet.data.tools.shrink.settings import Shrinking
from teinet.errors import ConfigError
from teinet.utils.files import replacing

NAME = "shrink.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One copy.

    Args:
        key: of the job; the path below the folder.
        reason: why there is none; empty where there is one.
        before, modified: size and time of last change (ns) of the source when it was read; None where it was lost.
        bytes: size of the copy.
        shift: seconds by which frames are shown earlier in it.
        renamed: whether its pictures became .jpg.
    """

    key: str
    reason: str = ""
    before: int | None = None
    modified: int | None = None
    bytes: int = 0
    shift: float = 0.0
    renamed: bool = False


class Journal:
    """The journal of one folder, read and gone on with.

    Args:
        folder: made where it is not there.
        settings: how clips are made smaller.
        jobs: what is to be written.

    Raises:
        ConfigError: the folder holds what is not ours, or ours by other settings; nothing is written then.
    """

    def __init__(self, folder: Path, settings: Shrinking, jobs: Iterable[Job]):
        self.path, self.entries = folder / NAME, {}
        head = {"teinet": "data shrink", "settings": asdict(settings)}
        owned: set[str] = set()
        if self.path.exists():
            owned = self._read(head)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: is there already and is not from `teinet data shrink`; name a new folder")
        keys = []
        for job in jobs:
            if job.key not in owned and (folder / job.target).exists():
                raise ConfigError(
                    f"{folder / job.target}: is there already and was not written by this command; move it away"
                )
            keys.append(job.key)
        folder.mkdir(parents=True, exist_ok=True)
        # The names are claimed before the first file is written: after a kill it is known what may be written over.
        claimed = ({"key": key} for key in dict.fromkeys((*owned, *keys)))
        with replacing(self.path) as part, part.open("w", encoding="ascii") as file:
            for line in (head, *claimed, *map(vars, self.entries.values())):
                file.write(json.dumps(line) + "\n")
        self._file = self.path.open("a", encoding="ascii", buffering=1)

    def _read(self, head: dict[str, Any]) -> set[str]:
        lines = []
        for text in self.path.read_bytes().decode("ascii", "replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:  # cut off by a kill
                continue
        if not lines or lines[0].get("teinet") != head["teinet"]:
            raise ConfigError(f"{self.path}: is not from `teinet data shrink`; name a new folder")
        if lines[0] != head:
            was = ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in lines[0]["settings"].items())
            raise ConfigError(f"{self.path.parent}: was begun with {was}; go on with these, or name a new folder")
        entries = [Entry(**line) for line in lines[1:] if len(line) > 1]
        self.entries = {entry.key: entry for entry in entries}
        return {line["key"] for line in lines[1:]}

    def add(self, entry: Entry) -> None:
        self.entries[entry.key] = entry
        self._file.write(json.dumps(vars(entry)) + "\n")

    def close(self) -> None:
        self._file.close()
