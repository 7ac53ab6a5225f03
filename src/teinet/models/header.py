"""The header of a recognizer's file, read without its tensors and without torch; and where such files are."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from teinet.errors import CheckpointError, nearest

log = logging.getLogger("teinet")

FORMAT = 1
PRETRAINED = Path(__file__).parents[1] / "weights"  # recognizers that come with the library
LAST = "last.safetensors"  # what a training run calls its last weights
KEY = "teinet"
DEFAULTS: dict[str, Any] = {
    "class_names": [],
    "preprocessing": {},
    "sampling": {},
    "frame_interval": None,
    "recipe": {},
    "scores": {},
    "license": "",
    "background": [],
    "card": {},
    "version": "",
}


@dataclass(frozen=True)
class Pretrained:
    """A recognizer that comes with the library.

    Args:
        name: what `--weights` and `Recognizer.load` call it.
        header: see `read_header`; `header["card"]` holds title, data, figures and not_for, in words.
    """

    name: str
    path: Path
    header: dict[str, Any]

    @property
    def summary(self) -> str:
        """Lines: what it tells apart and under which license, how well, and what it is not for."""
        card = self.header["card"]
        return (
            f"{card.get('title', '')}; license {self.header['license'] or 'not stated'}\n"
            f"{card.get('figures', '')}\nnot for {card.get('not_for', '')}"
        )


def list_pretrained() -> list[Pretrained]:
    """Return the recognizers that come with the library, sorted by name; CheckpointError where a file is damaged."""
    return [Pretrained(path.stem, path, read_header(path)) for path in sorted(PRETRAINED.glob("*.safetensors"))]


def pretrained_file(name: str | Path) -> Path | None:
    """Return the file of the recognizer of this name that comes with the library; None where there is none."""
    path = PRETRAINED / f"{name}.safetensors"
    return path if Path(name).name == str(name) and path.is_file() else None


def weights_file(path: str | Path) -> Path:
    """Return the recognizer file that `path` names: itself, the last weights of a run's folder, or a pretrained one.

    A path that exists goes before a name; a file need not exist. A folder without last weights is a CheckpointError.
    """
    path = Path(path)
    if not path.exists():
        return pretrained_file(path) or path
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        runs = sorted(file.parent for file in path.glob(f"*/{LAST}"))
        hint = f" It holds {len(runs)} runs, such as {runs[0]}." if runs else ""
        raise CheckpointError(f"{path} holds no {LAST}; name a training run's folder or a .safetensors file.{hint}")
    return path / LAST


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of the recognizer's file that `path` names (see `weights_file`), with every key present.

    Raises:
        CheckpointError: it is absent, no recognizer's file, cut off, of a newer format, or has a damaged header.
    """
    path = weights_file(path)
    if not path.is_file():
        names = sorted(file.stem for file in PRETRAINED.glob("*.safetensors"))
        known = f" ({', '.join(names)})" if names else ""
        reason = f"neither a run's folder, a weights file nor a pretrained model{known}.{nearest(str(path), names)}"
        raise CheckpointError(f"{path}: {reason}")
    if (guess_type(path.name)[0] or "").startswith("video/"):
        raise CheckpointError(f"{path}: a video, and no weights; weights come first, then videos")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:  # not by safetensors' own reader, which imports a framework
            length = int.from_bytes(file.read(8), "little")
            table = json.loads(file.read(min(length, size)))
        metadata = table.pop("__metadata__", {})
        if size != 8 + length + max((tensor["data_offsets"][1] for tensor in table.values()), default=0):
            raise ValueError("its length is not what its header says")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not safetensors, or cut off ({error}). Copy or export it again.") from error
    if KEY not in metadata:
        raise CheckpointError(f"{path}: weights without teinet's header. Give a backbone's as backbone_weights.")
    try:
        header = json.loads(metadata[KEY])
        version, name = header["format"], header["architecture"]["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: teinet's header is damaged ({error!r}). Export the file again.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(f"{path}: format {version}, of a newer teinet; this reads {FORMAT}. Upgrade teinet.")
    log.debug("%s: %s, format %s", path, name, version)
    header = {**DEFAULTS, **header}
    if wrong := wrong_value(header):
        raise CheckpointError(f"{path}: teinet's header is damaged ({wrong}). Export the file again.")
    return header


# What a header's values must be; other keys are free.
_NUMBER = (int, float)
Kinds = Mapping[str, type | tuple[type, ...]]
_KINDS: Kinds = {
    **{key: type(value) for key, value in DEFAULTS.items()},
    "frame_interval": (*_NUMBER, type(None)),
    "architecture": dict,
    **{"architecture.name": str, "architecture.num_classes": int, "architecture.num_frames": int},
    **{"architecture.dropout": _NUMBER, "architecture.stages": list},
    **{"preprocessing.size": (int, list), "preprocessing.short_side": int, "preprocessing.interpolation": str},
    **{"preprocessing.mean": list, "preprocessing.std": list},
    **{"sampling.num_frames": int, "sampling.strategy": str, "sampling.window": int},
    "recipe.data": dict,
}
_ITEMS = {"class_names": str, "preprocessing.mean": _NUMBER, "preprocessing.std": _NUMBER}  # of lists


def wrong_value(header: dict[str, Any], kinds: Kinds = _KINDS) -> str | None:
    """Return in words the first value in a header that has a wrong type; None where all are right."""
    for path, kind in kinds.items():
        part, _, key = path.partition(".")
        if part not in header or (key and key not in header[part]):
            continue
        value = header[part][key] if key else header[part]
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{path} is {_short(value)}"
        if odd := [item for item in value if not isinstance(item, _ITEMS[path])] if path in _ITEMS else []:
            return f"{path} holds {_short(odd[0])}"
    return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
