"""What a long recording has given so far, kept in a file, so that an interrupted look through it goes on there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from teinet.errors import ConfigError
from teinet.utils.files import replacing

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

_FORMAT = 3
_KEY = "teinet.partial"
_EVERY = 10.0  # seconds of work between two writings
_SHARE = 20  # of the time that a writing takes: it must not cost more than a twentieth


class Kept(NamedTuple):
    """What a file held: tensors and JSON values by name."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Partial:
    """The file of one recording.

    Args:
        path: the file; folders that are missing are made.
        recognizer, video, settings: what its content depends on: fingerprints, and JSON values by name.
    """

    def __init__(self, path: str | PathLike, *, recognizer: str, video: Sequence[int], settings: dict[str, Any]):
        self.path = Path(path)
        self._belongs = {"format": _FORMAT, "recognizer": recognizer, "video": list(video), "settings": settings}
        self._next = time.monotonic() + _EVERY

    def load(self) -> Kept | None:
        """What was kept; None for nothing, or nothing that can be used: it is damaged, or the video is another now.

        Raises:
            ConfigError: it was found by another recogniser or with other settings, and may still be wanted.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                belongs = said["belongs"]
                if any(belongs.get(name) != self._belongs[name] for name in ("format", "video")):
                    return None
                self._compare(belongs)
                return Kept({name: file.get_tensor(name) for name in file.keys()}, said["facts"])
        except (OSError, SafetensorError, ValueError, KeyError):
            return None

    def _compare(self, belongs: dict[str, Any]) -> None:
        before, now = belongs["settings"], self._belongs["settings"]
        changed = [name for name, value in now.items() if before[name] != value]
        differ = [f"{name} {_said(before[name])}, not {_said(now[name])}" for name in changed]
        if belongs["recognizer"] != self._belongs["recognizer"]:
            differ.insert(0, "another recogniser or --optimize")
        if differ:
            raise ConfigError(
                f"{self.path} holds what was found so far with {'; '.join(differ)}: say the same as before to go on "
                "there, or begin anew (--anew, or remove it)"
            )

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._next

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write the file anew, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        began = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        said = {_KEY: json.dumps({"belongs": self._belongs, "facts": facts})}
        with replacing(self.path) as part:
            plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            part.write_bytes(safetensors.torch.save(plain, said))
        now = time.monotonic()
        self._next = now + max(_EVERY, _SHARE * (now - began))


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unset" if value is None else f"{value:g}"


def print_of(recognizer: Recognizer) -> str:
    """A fingerprint of all that a recogniser's answers depend on: weights, network, classes, preprocessing, device."""
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


def print_of_file(path: str | PathLike) -> list[int]:
    """A video's size in bytes and the time of its last change in ns; zeros where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]
