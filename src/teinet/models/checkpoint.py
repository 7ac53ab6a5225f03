"""A recogniser in one file: safetensors with a JSON header (architecture, class names, preprocessing, ...).

Nothing in it is executed. Loading refuses what does not fit, by name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from teinet import __version__
from teinet.errors import CheckpointError, ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.models.header import DEFAULTS, FORMAT, KEY, read_header, weights_file, wrong_value
from teinet.models.weights import load_fitting
from teinet.utils.files import replacing

log = logging.getLogger("teinet")

_TIM_KERNELS = (".temporal.tim.weight", ".temporal.weight")  # of TEI and SE+TIM, and of TIM alone
_NOT_FROM_A_FILE = ("pretrained", "backbone_weights")  # a header must not make us fetch or open anything else


def save_weights(
    path: str | Path, model: VideoClassifier, header: dict[str, Any] | None = None, *, dtype: torch.dtype | None = None
) -> None:
    """Write a recognizer's file; an older file of that name stays whole until the new one is complete.

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
    full = {**DEFAULTS, **(header or {}), "format": FORMAT, "architecture": architecture, "version": __version__}
    names = full["class_names"]
    if names and len(names) != model.num_classes:
        raise ConfigError(f"{len(names)} class names for a network of {model.num_classes} classes.")
    try:
        text = json.dumps(full)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the header of {path} cannot be written as JSON: {error}.") from error
    if wrong := wrong_value(json.loads(text)):
        raise ConfigError(f"the header of {path} would not load again: {wrong}.")
    tensors = {
        key: value.detach().cpu().to(dtype if value.is_floating_point() else None).contiguous()
        for key, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata={KEY: text}))


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
        model: the network to fine-tune; changed in place. A causal one can start from a bidirectional one, and back.
        path: a .safetensors file of a recogniser, or a run's folder.
        class_names: the model's own; where the file has the very same, its head is loaded too.

    Raises:
        CheckpointError: the file is none of a recogniser, or anything but the head does not fit.
    """
    header, tensors = read_recogniser(path)
    causal = bool((model.config or {}).get("causal"))
    if causal != bool(header["architecture"].get("causal")):
        log.info("%s: temporal kernels converted to the %s form", path, "causal" if causal else "bidirectional")
        tensors = convert_kernels(tensors, causal=causal)
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


def convert_kernels(tensors: Mapping[str, Tensor], *, causal: bool) -> dict[str, Tensor]:
    """Return a recognizer's tensors for the other form, a start for training: TIM's kernels keep what they can.

    Bidirectional kernels lie on t-1, t, t+1. The causal form cannot have frame t+1, and takes frame t for it: (0, V0,
    V1+V2) on t-2, t-1, t. Back, frame t-2 becomes t-1: (V0+V1, V2, 0).
    """

    def convert(kernel: Tensor) -> Tensor:
        first, middle, last = kernel.unbind(2)
        none = torch.zeros_like(first)
        return torch.stack([none, first, middle + last] if causal else [first + middle, last, none], dim=2)

    return {
        key: convert(value) if key.endswith(_TIM_KERNELS) and value.shape[1:] == (1, 3, 1) else value
        for key, value in tensors.items()
    }


def read_recogniser(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and tensors of a recognizer's file, with every key of the header present; see `read_header`."""
    path = weights_file(path)
    header = read_header(path)
    with safe_open(path, framework="pt") as file:
        return header, {key: file.get_tensor(key) for key in file.keys()}
