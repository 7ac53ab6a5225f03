"""Build a system by its name, and start one from the weights of a network for images."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from teinet.errors import CheckpointError
from teinet.models.systems.layout import ClipNetwork
from teinet.models.systems.table import SYSTEMS
from teinet.models.weights import some


def build_system(name: str, **given: Any) -> ClipNetwork:
    """Return the network of a system, with random weights; `given` are the arguments of its class besides the row's."""
    system = SYSTEMS[name]
    module, kind = system.home
    make = getattr(import_module(f"teinet.models.systems.{module}"), kind)
    return make(**system.options, **given)


def inflate(net: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path) -> None:
    """Load the weights of a network for images of the same names: kernels are repeated over time and divided by it.

    The head and non-local blocks, which start at zero, keep their own. Source: I3D, arXiv 1705.07750, section 2.4.

    Raises:
        CheckpointError: the weights are another network's.
    """
    own, found = net.state_dict(), {}
    for key, target in own.items():
        value = tensors.get(key)
        if value is not None and (value.dim(), target.dim()) == (4, 5):
            value = value[:, :, None].expand(-1, -1, target.shape[2], -1, -1) / target.shape[2]
        if value is not None and value.shape == target.shape and not key.startswith("fc."):
            found[key] = value
    kept = ("fc.", "num_batches_tracked")
    missing = [k for k in own if k not in found and "_nl." not in k and not (k.startswith(kept) or k.endswith(kept))]
    if missing:
        named = f"missing or of another shape: {some(missing)}"
        raise CheckpointError(f"{source}: does not fit {type(net).__name__} ({named})")
    net.load_state_dict(found, strict=False)
