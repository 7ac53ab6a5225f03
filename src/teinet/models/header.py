"""The header of a recognizer's file, read without its tensors and without torch; and where such files lie."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
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
    "spacing": None,
    "recipe": {},
    "scores": {},
    "licence": "",
    "nothing": [],
    "card": {},
    "version": "",
}
_MOST = 100_000_000  # bytes of a safetensors header; what is longer is no such file


@dataclass(frozen=True)
class Pretrained:
    """A recognizer that comes with the library.

    Args:
        name: what `--weights` and `Recognizer.load` call it.
        path: its file.
        header: all that the file says; `header["card"]` holds title, data, figures and not_for, in words.
    """

    name: str
    path: Path
    header: dict[str, Any]

    @property
    def summary(self) -> str:
        """Lines: what it tells apart and under which licence, how well, and what it is not for."""
        card = self.header["card"]
        return (
            f"{card.get('title', '')}; licence {self.header['licence'] or 'not stated'}\n"
            f"{card.get('figures', '')}\nnot for {card.get('not_for', '')}"
        )


def list_pretrained() -> list[Pretrained]:
    """Return all of them, by name.

    Raises:
        CheckpointError: a file that is damaged.
    """
    return [Pretrained(path.stem, path, read_header(path)) for path in sorted(PRETRAINED.glob("*.safetensors"))]


def pretrained_file(name: str | Path) -> Path | None:
    """Return the file of the recognizer of this name that comes with the library; None where there is none."""
    path = PRETRAINED / f"{name}.safetensors"
    return path if Path(name).name == str(name) and path.is_file() else None


def weights_file(path: str | Path) -> Path:
    """Return the recognizer file that `path` names: itself, the last weights of a run's folder, or a pretrained one.

    Args:
        path: a file, which need not exist, a folder, or a pretrained recognizer's name; what exists goes before a name.

    Raises:
        CheckpointError: a folder that holds none.
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
    """Return the header of a recognizer's file, with every key present.

    Args:
        path: the file, a run's folder, or a pretrained recognizer's name.

    Raises:
        CheckpointError: it is no such file, is cut off, of a newer format, or has a damaged header.
    """
    path = weights_file(path)
    metadata = _metadata(path)
    if KEY not in metadata:
        raise CheckpointError(
            f"{path}: plain weights without teinet's header. If they are a backbone's, give them as backbone_weights."
        )
    try:
        header = json.loads(metadata[KEY])
        version, name = header["format"], header["architecture"]["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: teinet's header is damaged ({error!r}). Export the file again.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path}: written in format {version} by a newer teinet; this one reads up to {FORMAT}. Upgrade teinet."
        )
    log.debug("%s: %s, format %s", path, name, version)
    header = {**DEFAULTS, **header}
    if wrong := next(wrong_values(header), None):
        raise CheckpointError(f"{path}: teinet's header is damaged ({wrong}). Export the file again.")
    return header


def _metadata(path: Path) -> dict[str, str]:
    """The texts in a safetensors file: 8 bytes of length, then JSON with `__metadata__` and where each tensor lies."""
    if not path.is_file():
        close = nearest(str(path), (file.stem for file in PRETRAINED.glob("*.safetensors")))
        raise CheckpointError(f"{path}: no such file.{close}")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MOST:
                raise ValueError("its header is too long")
            table = json.loads(file.read(length))
        metadata = table.pop("__metadata__", {})
        end = max((tensor["data_offsets"][1] for tensor in table.values()), default=0)
        if path.stat().st_size != 8 + length + end:
            raise ValueError("its length is not what its header says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise not_whole(path, error) from error
    return metadata


def not_whole(path: Path, error: Exception) -> CheckpointError:
    """Return what to say of a file that cannot be read as safetensors."""
    return CheckpointError(
        f"{path}: not a safetensors file, or cut off ({error}). Copy it again, or export it again from its run."
    )


# What a header's values must be; other keys are free.
_PARTS = {"architecture": dict, "class_names": list, "preprocessing": dict, "sampling": dict, "recipe": dict}
_PARTS |= {"scores": dict, "licence": str, "nothing": list, "card": dict, "version": str}
_VALUES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "architecture": {"name": str, "num_classes": int, "num_frames": int, "dropout": (int, float), "stages": list},
    "preprocessing": {"size": (int, list), "short_side": int, "interpolation": str, "mean": list, "std": list},
    "sampling": {"num_frames": int, "strategy": str, "window": int},
    "recipe": {"data": dict},
}


def wrong_values(header: dict[str, Any]) -> Iterator[str]:
    """What in a header is of another type than it must be, in words."""
    for part, kind in _PARTS.items():
        if not isinstance(header[part], kind):
            yield f"{part} is {_short(header[part])}"
            return
    for part, kinds in _VALUES.items():
        for key, kind in kinds.items():
            value = header[part].get(key)
            if key in header[part] and (not isinstance(value, kind) or isinstance(value, bool)):
                yield f"{part}.{key} is {_short(value)}"
    if not isinstance(header["spacing"], (int, float, type(None))) or header["spacing"] is False:
        yield f"spacing is {_short(header['spacing'])}"
    if any(not isinstance(name, str) for name in header["class_names"]):
        yield f"class_names holds {_short(next(n for n in header['class_names'] if not isinstance(n, str)))}"
    for key in ("mean", "std"):
        colours = header["preprocessing"].get(key, [])
        if any(not isinstance(colour, (int, float)) for colour in colours):
            yield f"preprocessing.{key} is {_short(colours)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
