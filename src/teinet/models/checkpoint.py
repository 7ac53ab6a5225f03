"""A recogniser in one file: safetensors with a JSON header (architecture, class names, preprocessing, ...).

Nothing in it is executed. Loading refuses what does not fit, by name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from teinet import __version__
from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.models.causal import kernels_laid_anew
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.models.weights import load_fitting
from teinet.utils.files import replacing

log = logging.getLogger("teinet")

FORMAT = 1
SHIPPED = Path(__file__).parents[1] / "weights"  # recognisers that come with the library; see `models.shipped`
LAST = "last.safetensors"  # what a training run calls its last weights
_KEY = "teinet"
_DEFAULTS: dict[str, Any] = {
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
_NOT_FROM_A_FILE = ("pretrained", "backbone_weights")  # a header must not make us fetch or open anything else


def save_weights(
    path: str | Path,
    model: VideoClassifier,
    header: dict[str, Any] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a recogniser's file; an older file of that name stays whole until the new one is complete.

    Args:
        path: the file; folders that are missing are made.
        model: the network, on any device.
        header: class_names, preprocessing, sampling, spacing, recipe, scores, licence, card; and the architecture of a
            model that `create_model` did not build.

        dtype: what fractions are written in; None keeps the model's own. float16 halves the file, and the network that
            is loaded from it computes in float32 again.

    Raises:
        ConfigError: a model that `create_model` did not build and no architecture is given for, class names that do
            not fit its head, or a header that is not JSON or holds values of other types than a header's.
        OSError: the file cannot be written.
    """
    path = Path(path)
    architecture = model.config or (header or {}).get("architecture")  # its T may have been changed since it was loaded
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
    if wrong := next(_wrong_values(json.loads(text)), None):
        raise ConfigError(f"the header of {path} would not load again: {wrong}.")
    tensors = {
        key: value.detach().cpu().to(dtype if value.is_floating_point() else None).contiguous()
        for key, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata={_KEY: text}))


def load_weights(path: str | Path) -> tuple[VideoClassifier, dict[str, Any]]:
    """The network that a recogniser's file holds, in evaluation mode, and the file's header.

    Args:
        path: a .safetensors file, or a run's folder, which stands for its last weights.

    Returns:
        The network, on the CPU, and the header with every key present.

    Raises:
        CheckpointError: the file is absent, broken, of another kind or of a newer format, its header is damaged, or
            its weights do not fit the architecture that it names.
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

    Args:
        model: the network to fine-tune; changed in place. A causal one can start from a two-sided one, and back.
        path: a .safetensors file of a recogniser, or a run's folder.
        class_names: the model's own; where the file has the very same, its head is loaded too.

    Raises:
        CheckpointError: the file is none of a recogniser, or anything but the head does not fit.
    """
    header, tensors = read_recogniser(path)
    causal = bool((model.config or {}).get("causal"))
    if causal != bool(header["architecture"].get("causal")):
        log.info("%s: laid anew for the %s form", path, "causal" if causal else "two-sided")
        tensors = kernels_laid_anew(tensors, causal=causal)
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
        log.warning(
            "%s: all weights loaded but the head (%s), which is new, for %d classes", path, head, model.num_classes
        )
    return header


def weights_file(path: str | Path) -> Path:
    """The recogniser file that `path` names: itself, the last weights of a run's folder, or a shipped recogniser.

    Args:
        path: a file, which need not exist, a folder, or a name of `models.shipped`; what exists goes before a name.

    Raises:
        CheckpointError: a folder that holds none.
    """
    path = Path(path)
    if not path.exists():
        return shipped_file(path) or path
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        runs = sorted(file.parent for file in path.glob(f"*/{LAST}"))
        hint = f" It holds {len(runs)} runs, such as {runs[0]}." if runs else ""
        raise CheckpointError(f"{path} holds no {LAST}; name a training run's folder or a .safetensors file.{hint}")
    return path / LAST


def shipped_file(name: str | Path) -> Path | None:
    """The file of the recogniser of this name that comes with the library; None where there is none."""
    path = SHIPPED / f"{name}.safetensors"
    return path if Path(name).name == str(name) and path.is_file() else None


def read_recogniser(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a recogniser's file, with every key of the header present.

    Args:
        path: the file, a run's folder, or a shipped recogniser's name.

    Raises:
        CheckpointError: it is none, is cut off, of a newer format, or has a damaged header.
    """
    path = weights_file(path)
    with _opened(path) as file:
        header = _header(path, file.metadata() or {})
        return header, {key: file.get_tensor(key) for key in file.keys()}


def read_header(path: str | Path) -> dict[str, Any]:
    """A recogniser's header alone, without its tensors; see `read_recogniser`."""
    path = weights_file(path)
    with _opened(path) as file:
        return _header(path, file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        shipped = nearest(str(path), (file.stem for file in SHIPPED.glob("*.safetensors")))
        raise CheckpointError(f"{path}: no such file.{shipped}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file, or cut off ({error}). Copy it again, or export it again from its run."
        ) from error


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
    header = {**_DEFAULTS, **header}
    if wrong := next(_wrong_values(header), None):
        raise CheckpointError(f"{path}: teinet's header is damaged ({wrong}). Export the file again.")
    return header


# What a header's values must be; other keys are free.
_PARTS = {"architecture": dict, "class_names": list, "preprocessing": dict, "sampling": dict, "recipe": dict}
_PARTS |= {"scores": dict, "licence": str, "nothing": list, "card": dict, "version": str}
_VALUES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "architecture": {"name": str, "num_classes": int, "num_frames": int, "dropout": (int, float), "stages": list},
    "preprocessing": {"size": (int, list), "short_side": int, "interpolation": str, "mean": list, "std": list},
    "sampling": {"num_frames": int, "strategy": str, "window": int},
    "recipe": {"data": dict},
}


def _wrong_values(header: dict[str, Any]) -> Iterator[str]:
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
