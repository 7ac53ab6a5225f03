"""Weights from a file into a network: read without executing anything, compared by name and shape, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from teinet.errors import CheckpointError
from teinet.models.unpickle import load_inert

_SHOWN = 5
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Args:
        tensors: the weights by name, without DataParallel's `module.`.
        beside: all else by name (epoch, optimizer, ...); in it, objects of other programs are inert stand-ins.
    """

    tensors: dict[str, Tensor]
    beside: dict[str, Any]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name; see `read_checkpoint`."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The weights in a .safetensors file, or in a .pth, .pt, .bin or .tar file of torch.save, and what is beside them.

    Nothing in the file is executed, whatever trainer wrote it.

    Args:
        path: the file; its suffix says which kind it is.

    Raises:
        CheckpointError: the file is absent, broken, or holds something else than weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    try:
        content, beside = _read_safetensors(path) if path.suffix == ".safetensors" else (load_inert(path), {})
    except Exception as error:  # what a damaged pickle makes its reader raise can be of any kind
        raise CheckpointError(
            f"{path}: cannot be read as weights ({_first_line(error)}). It may be cut off or of another kind; "
            "fetch it again, or convert it to .safetensors."
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            beside |= {str(k): v for k, v in content.items() if k != key}
            content = content[key]
    if not isinstance(content, Mapping):
        content = {}
    tensors = {str(k).removeprefix("module."): v.detach() for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no weights (a dictionary of tensors was expected).")
    beside |= {str(k): v for k, v in content.items() if not isinstance(v, Tensor)}
    return Checkpoint(tensors, beside)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})


def load_fitting(
    net: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path, advice: str, without: str | None = None
) -> None:
    """Load `tensors` into `net`, all of them or none.

    Args:
        net: changed in place.
        tensors: its state by name.
        source: what the message calls the file.
        advice: what the user can do.
        without: a module's path whose weights are neither expected nor loaded.

    Raises:
        CheckpointError: something is missing, unexpected or of another shape; the message names it.
    """
    own = net.state_dict()

    def counts(key: str) -> bool:
        return without is None or not key.startswith(without + ".")

    given = {key: value for key, value in tensors.items() if counts(key)}
    # Files of other tools may lack this counter, which nothing here reads.
    missing = [k for k in own if counts(k) and k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in given if k not in own]
    misshaped = [
        f"{k} ({_shape(given[k])} in the file, {_shape(own[k])} in the network)"
        for k in given
        if k in own and given[k].shape != own[k].shape
    ]
    complaints = [
        f"{what} {some(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if keys
    ]
    if complaints:
        raise CheckpointError(f"{source}: does not fit {_name(net)}. {advice} ({'; '.join(complaints)})")
    net.load_state_dict(given, strict=False)


def some(keys: list[str]) -> str:
    """The first few of `keys`, and how many more there are."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _name(net: nn.Module) -> str:
    return (getattr(net, "config", None) or {}).get("name") or type(net).__name__


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__
