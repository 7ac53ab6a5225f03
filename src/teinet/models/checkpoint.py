"""A recogniser in one file: safetensors with a JSON header (architecture, class names, preprocessing, ...).

Nothing in it is executed. Loading refuses what does not fit, by name.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from teinet import __version__
from teinet.errors import CheckpointError, ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.models.weights import load_fitting

log = logging.getLogger("teinet")

FORMAT = 1
LAST = "last.safetensors"  # what a training run calls its last weights
_KEY = "teinet"
_DEFAULTS: dict[str, Any] = {
    "class_names": [],
    "preprocessing": {},
    "sampling": {},
    "recipe": {},
    "scores": {},
    "licence": "",
    "version": "",
}
_NOT_FROM_A_FILE = ("pretrained", "backbone_weights")  # a header must not make us fetch or open anything else


def save_weights(path: str | Path, model: VideoClassifier, header: dict[str, Any] | None = None) -> None:
    """Write a recogniser's file; an older file of that name stays whole until the new one is complete.

    header: class_names, preprocessing, sampling, recipe, scores, licence, version; the architecture is the model's own
        unless given.
    Raises ConfigError for a model that `create_model` did not build and no architecture is given for, for class names
    that do not fit its head, and for a header that is not JSON.
    """
    path = Path(path)
    architecture = (header or {}).get("architecture") or model.config
    if not architecture:
        raise ConfigError("a network that create_model did not build needs header['architecture'] to be saved.")
    full = {**_DEFAULTS, **(header or {}), "format": FORMAT, "architecture": architecture, "version": __version__}
    names = full["class_names"]
    if names and len(names) != model.num_classes:
        raise ConfigError(f"{len(names)} class names for a network of {model.num_classes} classes.")
    try:
        text = json.dumps(full)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the header of {path} cannot be written as JSON: {error}.") from error
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    _replace(path, save(tensors, metadata={_KEY: text}))


def load_weights(path: str | Path) -> tuple[VideoClassifier, dict[str, Any]]:
    """The network that a recogniser's file holds, in evaluation mode, and the file's header.

    Raises CheckpointError where the file is absent, broken, of another kind or of a newer format, or its weights do
    not fit the architecture that it names.
    """
    header, tensors = read_recogniser(path)
    architecture = {k: v for k, v in header["architecture"].items() if k not in _NOT_FROM_A_FILE}
    try:
        model = create_model(pretrained=False, **architecture)
    except (ConfigError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: names a network that this version of teinet cannot build: {error} "
            "Upgrade teinet and timm, or use the versions that wrote the file."
        ) from error
    load_fitting(
        model,
        tensors,
        source=path,
        advice=f"The file does not hold a whole {architecture.get('name')}; export it again from its run.",
    )
    names = header["class_names"]
    if names and len(names) != model.num_classes:
        raise CheckpointError(f"{path}: {len(names)} class names for {model.num_classes} classes; export it again.")
    return model.eval(), header


def load_matching(model: VideoClassifier, path: str | Path, *, class_names: list[str] | None = None) -> dict[str, Any]:
    """Start fine-tuning: load a recogniser's weights into `model`, whose head stays new; returns the file's header.

    class_names: the model's own; where the file has the very same, its head is loaded too.
    Raises CheckpointError where anything but the head does not fit.
    """
    header, tensors = read_recogniser(path)
    same = bool(class_names) and list(class_names) == list(header["class_names"])
    head = model.head_name
    load_fitting(
        model,
        tensors,
        source=path,
        advice=f"It holds a {header['architecture'].get('name')}; fine-tune a network of that name.",
        without=None if same else head,
    )
    if not same:
        log.info(
            "%s: all weights loaded but the head (%s), which is new, for %d classes", path, head, model.num_classes
        )
    return header


def weights_file(path: str | Path) -> Path:
    """The recogniser file that `path` names: itself, or the last weights of a run's folder.

    Raises CheckpointError for a folder that holds none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        raise CheckpointError(f"{path} holds no {LAST}; name a training run's folder or a .safetensors file.")
    return path / LAST


def read_recogniser(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a recogniser's file, with every key of the header present.

    Raises CheckpointError where it is none.
    """
    path = weights_file(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file, or cut off ({error}). Copy it again, or export it again from its run."
        ) from error
    return _header(path, metadata), tensors


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise CheckpointError(
            f"{path}: plain weights without teinet's header. If they are a backbone's, give them as backbone_weights."
        )
    try:
        header = json.loads(metadata[_KEY])
        version, name = header["format"], header["architecture"]["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: teinet's header is damaged ({error!r}). Export the file again.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path}: written in format {version} by a newer teinet; this one reads up to {FORMAT}. Upgrade teinet."
        )
    log.debug("%s: %s, format %s", path, name, version)
    return {**_DEFAULTS, **header}


def _replace(path: Path, content: bytes) -> None:
    """Write beside the target and rename, so that a crash leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
