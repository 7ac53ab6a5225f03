"""Save and load a recognizer as one file: safetensors with a JSON header. Loading executes no code of the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from teinet import __version__
from teinet.errors import CheckpointError, ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.models.header import DEFAULTS, FORMAT, KEY, read_header, weights_file, wrong_value
from teinet.models.names import starts_from_trunk
from teinet.models.weights import load_fitting
from teinet.utils.files import replacing

log = logging.getLogger("teinet")

_TIM_KERNELS = (".temporal.tim.weight", ".temporal.weight")  # of TEI and SE+TIM, and of TIM alone
_CLASSES = 100_000  # more than this only where a weight is as long
_NOT_FROM_A_FILE = ("pretrained", "backbone_weights")  # a header must not make us fetch or open anything else


def save_weights(
    path: str | Path, model: VideoClassifier, header: dict[str, Any] | None = None, *, dtype: torch.dtype | None = None
) -> None:
    """Write a recognizer's file; an existing file stays as it was until the new one is complete.

    Args:
        path: the file; missing folders are created.
        header: keys of `header.DEFAULTS`, and "architecture" for a model that `create_model` did not build.
        dtype: of the floats in the file; None keeps the model's. A float16 file is half as large and loads as float32.

    Raises:
        ConfigError: no architecture, class names that do not fit the head, or a header that is not JSON or holds a
            value of a wrong type.
        OSError: the file cannot be written.
    """
    path = Path(path)
    architecture = model.config or (header or {}).get("architecture")  # its T may have been changed since it was loaded
    if not architecture:
        raise ConfigError(
            f"{path}: this model was not built by create_model, so the file cannot say how to build it again; "
            "give create_model's arguments for it in header['architecture']."
        )
    full = {**DEFAULTS, **(header or {}), "format": FORMAT, "architecture": architecture, "version": __version__}
    names = full["class_names"]
    if names and len(names) != model.num_classes:
        raise ConfigError(f"{path}: {len(names)} class names for a model of {model.num_classes} classes.")
    try:
        text = json.dumps(full)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: the header cannot be written as JSON: {error}.") from error
    if wrong := wrong_value(json.loads(text)):
        raise ConfigError(f"{path}: the header could not be loaded again: {wrong}.")
    tensors = {
        key: value.detach().cpu().to(dtype if value.is_floating_point() else None).contiguous()
        for key, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata={KEY: text}))


def load_weights(path: str | Path) -> tuple[VideoClassifier, dict[str, Any]]:
    """Return the model of a recognizer's file, on the CPU in evaluation mode, and the header with every key present.

    Args:
        path: a .safetensors file, a run folder (its last weights), the name of a pretrained model, or hf://user/name.

    Raises:
        CheckpointError: see `read_header`; or weights or class names do not fit the architecture in the header.
    """
    header, tensors = read_recognizer(path)
    architecture = {k: v for k, v in header["architecture"].items() if k not in _NOT_FROM_A_FILE}
    largest = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    if (classes := architecture.get("num_classes", 0)) > max(largest, _CLASSES):
        raise CheckpointError(f"{path}: its header is damaged ({classes} classes). Export the file again.")
    try:
        model = create_model(pretrained=False, **architecture)
    except (ConfigError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: this version of teinet cannot build the file's network: {error} "
            "Upgrade teinet and timm, or use the versions that wrote the file."
        ) from error
    load_fitting(
        model,
        tensors,
        source=path,
        advice=f"The file has no complete {architecture.get('name')}; export it again from its run.",
    )
    names = header["class_names"]
    if names and len(names) != model.num_classes:
        raise CheckpointError(f"{path}: {len(names)} class names for {model.num_classes} classes; export it again.")
    types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    model.stored_dtype = types.pop() if len(types) == 1 else None
    return model.eval(), header


def kept_dtype(model: VideoClassifier) -> torch.dtype | None:
    """Return the number type of the file that a model is from, while that type holds the weights exactly; else None.

    So a file of half precision stays as small when it is saved again, and training afterwards loses nothing.
    """
    dtype = model.stored_dtype
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    exact = dtype is not None and all(torch.equal(value, value.to(dtype).to(value.dtype)) for value in floats)
    return dtype if exact else None


def load_matching(model: VideoClassifier, path: str | Path, *, class_names: list[str] | None = None) -> dict[str, Any]:
    """Load a recognizer's weights, except the head, into a model to fine-tune; return the file's header.

    Args:
        model: changed in place; a causal one can start from a bidirectional one, and the reverse; one with temporal
            modules, which stay new, from one without any.
        path: see `load_weights`; for a system with a trunk, also its trunk's, with which all other parts stay new.
        class_names: those of the model; if the file has the same, its head is loaded too.

    Raises:
        CheckpointError: see `read_header`; or any weights except the head do not fit.
    """
    header, tensors = read_recognizer(path)
    theirs, ours = ((known or {}).get("modality", "rgb") for known in (header["architecture"], model.config))
    if theirs != ours:
        raise CheckpointError(f"{path}: its network is of modality {theirs}, and cannot start one of modality {ours}.")
    causal = bool((model.config or {}).get("causal"))
    if causal != bool(header["architecture"].get("causal")):
        log.info("%s: temporal kernels converted to the %s form", path, "causal" if causal else "bidirectional")
        tensors = convert_kernels(tensors, causal=causal)
    held, own = header["architecture"], model.config or {}
    placing = {name: held[name] for name in ("stages", "shortcut_only", "every", "consensus") if name in held}
    other = [f"{name} {value}" for name, value in placing.items() if value != own.get(name)]
    with_ = f" with {', '.join(other)}" if other and held.get("name") == own.get("name") else ""
    head, same = model.head_name, keeps_head(header, class_names, str(own.get("name")))
    if starts_from_trunk(str(own.get("name")), str(held.get("name"))):
        part = {f"trunk.{key}": value for key, value in tensors.items() if not key.startswith(f"{head}.")}
        tensors = {**model.state_dict(), **part}
    new = {key: value for key, value in model.state_dict().items() if ".temporal." in key}
    if new and not any(".temporal." in key for key in tensors):
        log.info("%s: has no temporal modules; those of the network start new", path)
        tensors = new | tensors
    load_fitting(
        model,
        tensors,
        source=path,
        advice=f"It holds a {held.get('name')}{with_}; fine-tune a network like that.",
        without=None if same else head,
    )
    if same:
        log.info("%s: loaded all weights, with the head, as the classes are the same", path)
    else:
        log.warning(
            "%s: loaded all weights except the head (%s), which is new, for %d classes", path, head, model.num_classes
        )
    return header


def keeps_head(header: Mapping[str, Any], class_names: Sequence[str] | None, name: str) -> bool:
    """Return whether `load_matching` loads a file's head into the network `name`: it has the same classes, no trunk."""
    same = bool(class_names) and list(class_names or ()) == list(header["class_names"])
    return same and not starts_from_trunk(name, str(header["architecture"].get("name")))


def convert_kernels(tensors: Mapping[str, Tensor], *, causal: bool) -> dict[str, Tensor]:
    """Return a recognizer's tensors with TIM's kernels in the causal or bidirectional form, as a start for training.

    To causal, frame t replaces t+1: (0, V0, V1+V2) on t-2, t-1, t. From causal, t-1 replaces t-2: (V0+V1, V2, 0) on
    t-1, t, t+1.
    """

    def convert(kernel: Tensor) -> Tensor:
        first, middle, last = kernel.unbind(2)
        none = torch.zeros_like(first)
        return torch.stack([none, first, middle + last] if causal else [first + middle, last, none], dim=2)

    found = {k: v for k, v in tensors.items() if k.endswith(_TIM_KERNELS) and v.shape[1:] == (1, 3, 1)}
    return {**tensors, **{key: convert(value) for key, value in found.items()}}


def read_recognizer(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header of a recognizer's file, with every key present, and its tensors; errors as `read_header`."""
    path = weights_file(path)
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return header, {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:  # `read_header` does not look at the tensors
        raise CheckpointError(f"{path}: its table of weights is damaged ({error}). Copy or export it again.") from error
