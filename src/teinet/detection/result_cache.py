"""The timelines of finished recordings, a file each, so that an interrupted command continues with the others."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from teinet.detection.events import Rules
from teinet.detection.recognizes import Recognizes
from teinet.detection.recording import Timeline, events_of
from teinet.detection.strip import Strip
from teinet.errors import ConfigError
from teinet.utils.files import replacing

_FORMAT = 4
_FACTS = ("spacing", "restarts", "resizes", "broken", "until", "end", "stated")


class ResultCache:
    """Keeps timelines in a folder.

    Args:
        folder: it is made when the first timeline is saved.
        recognizer: what makes them.
        settings: JSON values that their scores depend on, by name.
    """

    def __init__(self, folder: str | PathLike, recognizer: Recognizes, settings: dict[str, Any]):
        self.folder = Path(folder)
        self._class_names = recognizer.class_names
        self._settings = settings
        self._recognizer = fingerprint(recognizer)

    def save(self, video: str | PathLike, timeline: Timeline) -> None:
        """Keep the timeline of a recording.

        Raises:
            OSError: it cannot be written.
        """
        facts = {name: getattr(timeline, name) for name in _FACTS}
        facts |= {"format": _FORMAT, "recognizer": self._recognizer, "settings": self._settings, "video": _stamp(video)}
        arrays: dict[str, Any] = {"facts": np.array(json.dumps(facts))}
        arrays |= {"reaches": timeline.reaches, "scores": timeline.scores, "resets": timeline.resets}
        if timeline.strip is not None:
            arrays |= {"seconds": timeline.strip.seconds, "pictures": timeline.strip.pictures}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(video)) as part, open(part, "wb") as file:
            np.savez(file, **arrays)

    def holds(self, video: str | PathLike) -> bool:
        """Whether the timeline of a recording is kept, and the file is still the same.

        Raises:
            ConfigError: another recognizer or other settings found it, and it may still be wanted.
        """
        return self._read(video) is not None

    def load(self, video: str | PathLike, rules: Rules) -> Timeline | None:
        """The timeline of a recording, with events by these rules; None if none is kept, or the file has changed.

        Raises:
            ConfigError: as `holds`.
        """
        found = self._read(video, arrays=True)
        if found is None:
            return None
        facts, arrays = found
        strip = Strip(arrays.pop("seconds"), arrays.pop("pictures")) if "pictures" in arrays else None
        return Timeline(
            path=fspath(video),
            class_names=self._class_names,
            events=events_of(arrays["reaches"], arrays["scores"], arrays["resets"], self._class_names, rules),
            strip=strip,
            **arrays,
            **{name: facts[name] for name in _FACTS},
        )

    def clear(self, videos: Iterable[str | PathLike]) -> None:
        """Remove what is kept of these recordings; what others left in the folder stays."""
        for video in videos:
            self._path(video).unlink(missing_ok=True)
        with suppress(OSError):  # it is missing, or holds something else
            self.folder.rmdir()

    def _path(self, video: str | PathLike) -> Path:
        name = hashlib.blake2b(os.fsencode(os.path.abspath(video)), digest_size=8).hexdigest()
        return self.folder / f"{name}.npz"

    def _read(self, video: str | PathLike, arrays: bool = False) -> tuple[dict, dict[str, np.ndarray]] | None:
        try:
            with np.load(self._path(video), allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                if facts["format"] != _FORMAT or facts["video"] != _stamp(video):
                    return None
                self._compare(facts)
                return facts, {name: file[name] for name in file.files if arrays and name != "facts"}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # missing or damaged
            return None

    def _compare(self, facts: dict[str, Any]) -> None:
        before = facts["settings"]
        changed = [name for name, value in self._settings.items() if before.get(name) != value]
        differ = [f"{name} {_text(before.get(name))}, not {_text(self._settings[name])}" for name in changed]
        if facts["recognizer"] != self._recognizer:
            differ.insert(0, "another recognizer or --optimize")
        if differ:
            raise ConfigError(
                f"{self.folder} holds results found with {'; '.join(differ)}: say the same as before to continue "
                "there, or start again (--anew, or remove it)"
            )


def fingerprint(recognizer: Recognizes) -> str:
    """A digest of all that a recognizer's scores depend on: weights, network, classes, preprocessing, device."""
    digest = hashlib.blake2b(digest_size=16)
    facts = (
        recognizer.header.get("architecture"),
        recognizer.class_names,
        recognizer.num_frames,
        recognizer.preprocessing.to_dict(),
        recognizer.device.type,
        type(recognizer.model).__name__,
        str(getattr(recognizer.model, "optimization", "")),
    )
    digest.update(repr(facts).encode())
    for name, tensor in recognizer.model.state_dict().items():
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(plain.view(torch.uint8).numpy())
    return digest.hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unset" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _stamp(path: str | PathLike) -> list[int]:
    """A file's size in bytes and the time of its last change in ns; zeros if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]
