"""What a long recording has given so far, kept in a file, so that an interrupted look through it goes on there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from teinet.files import replacing

if TYPE_CHECKING:
    from teinet.inference.recognizer import Recognizer

_FORMAT = 2
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
        belongs: what its content depends on, JSON values; content that belongs to something else is never used.
    """

    def __init__(self, path: str | PathLike, belongs: dict[str, Any]):
        self.path = Path(path)
        self._belongs = json.loads(json.dumps({**belongs, "format": _FORMAT}))
        self._next = time.monotonic() + _EVERY

    def load(self) -> Kept | None:
        """What was kept; None for nothing, or nothing that can be used."""
        try:
            with safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if said.get("belongs") != self._belongs:
                    return None
                return Kept({name: file.get_tensor(name) for name in file.keys()}, said["facts"])
        except (OSError, SafetensorError, ValueError, KeyError):
            return None

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
            safetensors.torch.save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, part, said)
        now = time.monotonic()
        self._next = now + max(_EVERY, _SHARE * (now - began))


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
