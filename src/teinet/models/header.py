"""Read the header of a recognizer's file, without its tensors and without torch; find pretrained models."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from mimetypes import guess_type
from os import PathLike
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.models.hub import MODEL, HubAddress, download, is_hub_address
from teinet.models.names import is_model, networks_like
from teinet.utils.protobuf import fields
from teinet.utils.text import short_repr

log = logging.getLogger("teinet")

FORMAT = 2
PRETRAINED = Path(__file__).parents[1] / "weights"  # of the pretrained models
LAST = "last.safetensors"  # the last weights in a run folder
STATE = "resume.ckpt"  # what a run continues from
KEY = "teinet"
_MOST = 100_000_000  # bytes of a header, as in safetensors' own reader
_PIXELS = 1 << 30  # of a clip: a thousand frames of 1024 x 1024
DEFAULTS: dict[str, Any] = {
    "class_names": [],
    "preprocessing": {},
    "sampling": {},
    "frame_interval": None,
    "recipe": {},
    "scores": {},
    "license": "",
    "background": [],
    "multi_label": False,
    "thresholds": [],
    "card": {},
    "version": "",
}


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model of the library.

    Args:
        name: its name in commands and in `Recognizer.load`.
        header: see `read_header`; `header["card"]` holds title, data, figures and not_for, in words.
    """

    name: str
    path: Path
    header: dict[str, Any]


def list_pretrained() -> list[Pretrained]:
    """Return the pretrained models of the library, sorted by name; CheckpointError if a file is damaged."""
    return [Pretrained(path.stem, path, read_header(path)) for path in sorted(PRETRAINED.glob("*.safetensors"))]


def pretrained_file(name: str | Path) -> Path | None:
    """Return the file of the pretrained model of this name; None if there is none."""
    path = PRETRAINED / f"{name}.safetensors"
    return path if Path(name).name == str(name) and path.is_file() else None


def weights_file(path: str | Path) -> Path:
    """Return the weights file of `path`: itself, that of a run's or saved folder, a pretrained model's, a repository's.

    An existing path takes precedence over a name; a file need not exist. For hf://user/name it is the file in the hub's
    cache, downloaded if need be.

    Raises:
        CheckpointError: a folder without weights; or see `hub_file`.
        ConfigError: an address of another form.
    """
    if is_hub_address(path):
        return hub_file(path)
    path = Path(path)
    if not path.exists():
        return pretrained_file(path) or path  # the place for a pretrained model that is not in the package, too
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        if (path / MODEL).is_file():
            return path / MODEL
        if (path / "recipe.yaml").is_file():
            reason = "its training stopped before the first epoch ended"
            raise CheckpointError(f"{path}: {reason}; teinet train --resume {path} continues it")
        runs = sorted(file.parent for file in path.glob(f"*/{LAST}"))
        hint = f" It contains {len(runs)} runs, such as {runs[0]}." if runs else ""
        raise CheckpointError(f"{path} has no {LAST}; name a run folder or a .safetensors file.{hint}")
    return path / LAST


def hub_file(address: str | PathLike[str], *, revision: str | None = None, **how: Any) -> Path:
    """Return a recognizer's file in the hub's cache, downloaded if need be.

    Args:
        address: hf://user/name[@revision][/file.safetensors].
        revision: a branch, tag or commit, if the address names none.
        how: `token`, `cache_dir`, `local_files_only`: see `models.hub.download`.

    Raises:
        CheckpointError: it cannot be downloaded, or is no recognizer's file.
        ConfigError: an address of another form.
    """
    place = HubAddress.parse(address, revision=revision)
    file = download(place, **how)
    read_header(file, name=str(place))  # here, where what is wrong can be said of the address
    return file


def refuse_no_weights(path: Path, advice: str) -> None:
    """Raise CheckpointError for the state of a run, and, with `advice`, for a video or an image."""
    if path.name == STATE:
        use = weights_file(path.parent)
        raise CheckpointError(f"{path}: this is a run's resume state, not weights; use {use} (or the run's folder)")
    kind = (guess_type(path.name)[0] or "").partition("/")[0]
    if kind in ("video", "image"):
        raise CheckpointError(f"{path}: this is {'a' if kind == 'video' else 'an'} {kind}, not weights; {advice}")


def refuse_multi_label(header: Mapping[str, Any], name: object = "this recognizer") -> None:
    """Raise ConfigError, which calls it `name`, for a recognizer that gives several labels for a clip."""
    if header.get("multi_label"):
        raise ConfigError(f"{name} gives several labels for a clip (multi-label); only predict, test and embed take it")


def read_header(path: str | Path, *, name: str | None = None) -> dict[str, Any]:
    """Return the header of a recognizer's file (`path` as in `weights_file`), with every key present.

    Args:
        name: of the file in messages; None is its path.

    Raises:
        CheckpointError: it is missing, no recognizer's file, cut off, of another format, or has a damaged header.
    """
    if "://" in str(path) and not is_hub_address(path):
        other = "weights are not read from addresses other than hf://user/name"
        raise ConfigError(f"{path}: {other}; download the file first")
    path = weights_file(path)
    name = name or str(path)
    if not path.is_file():
        names = sorted(file.stem for file in PRETRAINED.glob("*.safetensors"))
        known = f" ({', '.join(names)})" if names else ""
        if path.suffix or path.name != str(path):  # a file or folder, not a name
            siblings = [str(each) for each in path.parent.iterdir()] if path.parent.is_dir() else []
            raise CheckpointError(f"{path}: no such file or run folder.{nearest(str(path), siblings)}")
        reason = f"neither a run folder, a weights file nor a pretrained model{known}.{nearest(str(path), names)}"
        if like := [path.name] if is_model(path.name) else networks_like(path.name):
            reason = f"a network, but no weights; train it first: teinet train DATA --model {like[0]}"
        raise CheckpointError(f"{path}: {reason}")
    refuse_no_weights(path, "name the weights first, then the videos")
    if path.suffix in (".pth", ".pt", ".tar", ".ckpt", ".bin"):
        raise CheckpointError(
            f"{path}: a PyTorch checkpoint, not a recognizer; convert it first: teinet convert {path} --labels FILE"
        )
    kind, read = _READERS.get(path.suffix, ("safetensors", _safetensors_metadata))
    try:
        metadata = read(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ParseError) as error:
        raise CheckpointError(f"{name}: no {kind} file, or cut off ({error}). Copy or export it again.") from error
    if KEY not in metadata and path.suffix in _READERS:
        raise CheckpointError(
            f"{name}: an {kind} file without a teinet header; teinet export writes those that have it"
        )
    if KEY not in metadata:
        raise CheckpointError(
            f"{name}: weights without a teinet header; teinet convert makes a model of another project's checkpoint, "
            "and teinet train --backbone-weights starts from a backbone's."
        )
    try:
        header = json.loads(metadata[KEY])
        version, network = header["format"], header["architecture"]["name"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{name}: its teinet header is damaged ({reason}). Export the file again.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(f"{name}: has format {version}, and this teinet reads up to {FORMAT}: upgrade teinet.")
    if version < FORMAT:
        raise CheckpointError(f"{name}: has format {version}, of teinet 0.1; train or convert it again.")
    log.debug("%s: %s, format %s", name, network, version)
    header = {**DEFAULTS, **header}
    if wrong := wrong_value(header) or _huge(header):
        raise CheckpointError(f"{name}: its teinet header is damaged ({wrong}). Export the file again.")
    return header


def _safetensors_metadata(path: Path) -> Mapping[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:  # not by safetensors' own reader, which imports a framework
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, _MOST):
            raise ValueError(f"its header would have {length} bytes")
        table = json.loads(file.read(length))
    metadata = table.pop("__metadata__", {})
    if size != 8 + length + max((tensor["data_offsets"][1] for tensor in table.values()), default=0):
        raise ValueError("its length differs from what its header says")
    return metadata


def _onnx_metadata(path: Path) -> Mapping[str, Any]:
    found = {}
    for number, value in fields(memoryview(path.read_bytes())):
        if number == 14 and isinstance(value, memoryview):  # ModelProto.metadata_props
            pair = {part: str(text, "utf-8") for part, text in fields(value) if isinstance(text, memoryview)}
            found[pair.get(1, "")] = pair.get(2, "")
    if not found:
        raise ValueError("it has no metadata")
    return found


def _openvino_metadata(path: Path) -> Mapping[str, Any]:
    found = ElementTree.parse(path).getroot().find(f"rt_info/{KEY}")
    return {} if found is None else {KEY: found.get("value", "")}


_READERS = {".onnx": ("ONNX", _onnx_metadata), ".xml": ("OpenVINO", _openvino_metadata)}
EXPORTED = tuple(_READERS)  # suffixes of files that `teinet export` writes and commands take


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
    **{"sampling.num_frames": int, "sampling.strategy": str, "sampling.window": int, "sampling.adjacent": int},
    "recipe.data": dict,
}
_ITEMS = {"class_names": str, **dict.fromkeys(("thresholds", "preprocessing.mean", "preprocessing.std"), _NUMBER)}


def _huge(header: dict[str, Any]) -> str | None:
    """Return in words a clip of the header's settings that would fill the memory; None if it would not."""
    size = header["preprocessing"].get("size", 224)
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    frames = max(each.get("num_frames", 1) for each in (header["architecture"], header["sampling"]))
    try:
        return f"a clip has {frames} frames of {height} x {width}" if frames * height * width > _PIXELS else None
    except TypeError:
        return f"preprocessing.size is {short_repr(size)}"


def wrong_value(header: dict[str, Any], kinds: Kinds = _KINDS) -> str | None:
    """Return in words the first value of a wrong type in a header; None if there is none."""
    for path, kind in kinds.items():
        part, _, key = path.partition(".")
        if part not in header or (key and key not in header[part]):
            continue
        value = header[part][key] if key else header[part]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or _is_huge(value):
            return f"{path} is {short_repr(value)}"
        items: Any = value if path in _ITEMS else []
        if odd := [item for item in items if not isinstance(item, _ITEMS[path]) or _is_huge(item)]:
            return f"{path} holds {short_repr(odd[0])}"
    return None


def _is_huge(value: object) -> bool:
    """Return true for a number that PyTorch refuses with its own exceptions."""
    return isinstance(value, int) and abs(value) > 10**9
