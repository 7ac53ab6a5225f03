"""Read weights from a file without executing code, and load them into a network after comparing names and shapes.

torch's weights_only rejects a file that holds other objects next to the weights; here stand-ins replace them.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch._utils import _rebuild_tensor

from teinet.errors import CheckpointError
from teinet.models.caffe import read_caffemodel
from teinet.models.header import refuse_no_weights
from teinet.utils.files import is_plain_zip

_SHOWN = 2
_REPEATED = 1 << 28  # bytes that a tensor of repeated values may have, which takes few in its file
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "blobs")

# Texts in torch's errors for files that are no pickle, but which it would unpack or run; and what to tell the user.
_NO_PICKLE = {
    "TorchScript": "a TorchScript program, not weights; save its state_dict() with torch.save",
    ".tar format": "in torch's format from before version 0.2; load it with a torch of that time and save it again",
}


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a weights file.

    Args:
        tensors: the weights by name, without DataParallel's `module.`.
        others: other entries by name (epoch, optimizer, ...); objects of other programs in them are stand-ins.
    """

    tensors: dict[str, Tensor]
    others: dict[str, Any]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return the contents of a .safetensors, .caffemodel or Caffe2's .pkl file, or of torch.save's; run no code.

    Raises:
        CheckpointError: the file is missing or damaged, or has no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: {'a folder; give a file' if path.is_dir() else 'no such file'}.")
    refuse_no_weights(path, "give the file of the weights")
    content: Any
    others: dict[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                content, others = {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})
        elif path.suffix == ".pkl":  # Caffe2's: numpy's arrays in a plain pickle of Python 2
            with path.open("rb") as opened:
                content = _ArrayUnpickler(opened, encoding="latin-1").load()
        elif path.suffix == ".caffemodel":
            content = read_caffemodel(path)
        else:
            content = load_inert(path)
    except Exception as error:  # what a damaged pickle makes its reader raise can be of any kind
        said = str(error).split("\n")[0].rstrip(".")
        said = said if re.search(r"[^\W\d]", said) else "damaged"
        raise CheckpointError(
            f"{path}: cannot be read as weights ({said}). It may be cut off or have another format; "
            "download it again, or convert it to .safetensors."
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            others |= {str(k): v for k, v in content.items() if k != key}
            content = content[key]
    if not isinstance(content, Mapping):
        content = {}
    content = {k: getattr(v, "tensor", v) if isinstance(v, _Array) else v for k, v in content.items()}
    tensors = {str(k).removeprefix("module."): v.detach() for k, v in content.items() if isinstance(v, Tensor)}
    most = max(path.stat().st_size, _REPEATED)
    if large := [k for k, v in tensors.items() if v.numel() * v.element_size() > most]:
        raise CheckpointError(f"{path}: {large[0]} claims more bytes than the file has; get the file from its authors.")
    if not tensors:
        raise CheckpointError(f"{path}: has no weights; expected a dictionary of tensors.")
    others |= {str(k): v for k, v in content.items() if not isinstance(v, Tensor)}
    return Checkpoint(tensors, others)


def load_fitting(
    net: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path, advice: str, without: str | None = None
) -> None:
    """Load `tensors` into `net`, in place: all of them, or none and an error.

    Args:
        source, advice: for the message: the file, and a suggestion.
        without: path of a module whose weights are neither expected nor loaded.

    Raises:
        CheckpointError: weights are missing, unexpected or of another shape; the message names them.
    """

    def counted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v for k, v in state.items() if without is None or not k.startswith(without + ".")}

    own, given = counted(net.state_dict()), counted(tensors)
    complaints = {
        # files of other tools may lack this counter, which nothing here reads
        "missing": [k for k in own if k not in given and not k.endswith("num_batches_tracked")],
        "unexpected": [k for k in given if k not in own],
        "of another shape": [
            f"{k} ({_shape(value)} in the file, {_shape(own[k])} in the network)"
            for k, value in given.items()
            if k in own and value.shape != own[k].shape
        ],
    }
    if any(complaints.values()):
        name = (getattr(net, "config", None) or {}).get("name") or type(net).__name__
        said = "; ".join(f"{what} {some(keys)}" for what, keys in complaints.items() if keys)
        raise CheckpointError(f"{source}: does not fit {name}. {advice} ({said})")
    net.load_state_dict(given, strict=False)


def some(keys: list[str]) -> str:
    """Return the first few of `keys` as text, and how many more there are."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def load_inert(path: str | Path) -> Any:
    """Load a file of torch.save on the CPU, with stand-ins (`Inert`) for everything but plain values and tensors.

    Reads torch's zip files and the older ones (.pth.tar of torch 1.5 and before).

    Raises:
        pickle.UnpicklingError: it is a program, compressed, or in torch's oldest format, before 0.2.
        Exception: it is damaged; many kinds are possible.
    """
    with warnings.catch_warnings(), open(path, "rb") as file:
        warnings.simplefilter("ignore")
        if zipfile.is_zipfile(file) and not is_plain_zip(path):
            raise pickle.UnpicklingError(f"compressed or damaged, or {_NO_PICKLE['TorchScript']}")
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except RuntimeError as error:
            # Must not come to the second reading, which would unpack or run it.
            what = next((what for mark, what in _NO_PICKLE.items() if mark in str(error)), None)
            if what is None:
                raise
            raise pickle.UnpicklingError(what) from error
        except (pickle.UnpicklingError, UnicodeDecodeError):
            file.seek(0)  # a pickle that holds more than weights
            # errors: texts of Python 2 in other encodings; the names of weights are plain ASCII
            return torch.load(file, "cpu", pickle_module=InertPickle, weights_only=False, errors="replace")


class Inert:
    """Stand-in for every class, function and object that tensors do not need; accepts any call, and keeps no data.

    A pickle can call the class and its instances; `__setstate__` keeps the pickle's attributes off both.
    """

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return Inert()

    def __setstate__(*_: Any) -> None:  # without self: a pickle may call it on the class itself
        pass

    def append(self, *_: Any) -> None:
        """Ignore a value, like the other methods that would add one."""

    extend = add = __setitem__ = append


class _Tensor(Inert):
    """torch's functions that rebuild a tensor from its storage; gradient, hooks and metadata are dropped."""

    __slots__ = ()

    def __new__(cls, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        return _rebuild_tensor(storage, offset, size, stride)


class _Parameter(Inert):
    """torch's function that makes a tensor a parameter."""

    __slots__ = ()

    def __new__(cls, data: Any, *_: Any) -> Any:
        return data


class _Array(Inert):
    """numpy's arrays, as Caffe2's pickles hold them: numbers of a known kind, and nothing else of numpy."""

    __slots__ = ("tensor",)
    tensor: Tensor

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, raw = state
        content = raw.encode("latin-1") if isinstance(raw, str) else raw
        if not isinstance(kind, _Dtype) or kind.name not in _NUMBERS or is_fortran:
            raise pickle.UnpicklingError("an array of another kind than numbers")
        array = np.frombuffer(content, kind.name).reshape(shape)
        self.tensor = torch.from_numpy(array.copy())


class _Dtype(Inert):
    """numpy's kinds of numbers, by their names."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: Any, *_: Any) -> Any:
        made = object.__new__(cls)
        made.name = "<" + str(name)
        return made

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":  # big-endian
            self.name = ">"


_NUMBERS = ("<f4", "<f8", "<i4", "<i8")

# Storage classes are known to torch.load itself, by name. All of these are classes that a pickle cannot change.
_ALLOWED: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
}
_ALLOWED_ARRAYS: dict[tuple[str, str], type] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    ("numpy", "dtype"): _Dtype,
}


class InertUnpickler(pickle._Unpickler):
    """An unpickler that knows the classes in `_ALLOWED` only, and stand-ins.

    In Python, like torch's own: the one in C lets a few bytes ask for gigabytes (the number of a memo).
    """

    def load_bytearray8(self: Any) -> None:
        """Read an array of bytes; pickle takes the memory that the array claims before it looks for the bytes."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    dispatch: Any = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> type:
        """Return the class of this name if it is allowed, else a stand-in; import nothing."""
        return _ALLOWED.get((module, name), Inert)

    def __setattr__(self, name: str, value: Any) -> None:
        # torch.load sets persistent_load, which also compares source code and may write a patch file: no more of that
        super().__setattr__(name, _storages_only(value) if name == "persistent_load" else value)


def _storages_only(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def persistent_load(saved_id: Any) -> Any:
        is_storage = isinstance(saved_id, tuple) and saved_id and saved_id[0] in ("storage", b"storage")
        return load(saved_id) if is_storage else Inert

    return persistent_load


class _ArrayUnpickler(InertUnpickler):
    """An unpickler that knows numpy's arrays too."""

    def find_class(self, module: str, name: str) -> type:
        return _ALLOWED_ARRAYS.get((module, name)) or super().find_class(module, name)


class InertPickle:
    """The pickle module that torch.load is given."""

    Unpickler = InertUnpickler

    @staticmethod
    def load(file: IO[bytes], **options: Any) -> Any:
        """Load as pickle.load does, with stand-ins."""
        return InertUnpickler(file, **options).load()
