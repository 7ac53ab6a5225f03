"""Tensors out of a file of torch.save without executing anything in it, whatever a trainer stored beside them.

torch's own weights_only reading refuses a file as a whole for one foreign object. Here a foreign object's name is
looked up nowhere and imports nothing: an inert stand-in takes its place, and the tensors come through.
"""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch._utils import _rebuild_tensor

# What torch says where a file is no pickle but something that it would unpack or run.
_NO_PICKLE = {
    "TorchScript": "a TorchScript program, not weights; save its state_dict() with torch.save",
    ".tar format": "in a format that torch left before version 0.2; load and save it again with a torch of its time",
}


class Inert:
    """Stands for every class, function and object that is not needed for tensors; accepts all, keeps and does nothing.

    As a class it can be called and instantiated as pickles do, and its instances can be called in turn. Having
    `__setstate__`, neither it nor its instances take attributes from a pickle.
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

    def __setitem__(self, *_: Any) -> None:
        pass

    def append(self, *_: Any) -> None:
        """Drop what a list would take; so do the next two."""

    extend = add = append


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


# Storage classes are known to torch.load itself, by name. All of these are classes that a pickle cannot change.
_ALLOWED: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
}


class InertUnpickler(pickle.Unpickler):
    """An unpickler for which the world consists of `_ALLOWED` and stand-ins."""

    def find_class(self, module: str, name: str) -> type:
        """The class that a pickle names: an allowed one or a stand-in. Nothing is imported."""
        return _ALLOWED.get((module, name), Inert)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "persistent_load":  # torch.load sets it
            value = _storages_only(value)
        super().__setattr__(name, value)


def _storages_only(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Torch also compares source code by persistent ids, and may write a patch file: keep it from that."""

    def persistent_load(saved_id: Any) -> Any:
        if isinstance(saved_id, tuple) and saved_id and saved_id[0] in ("storage", b"storage"):
            return load(saved_id)
        return Inert

    return persistent_load


class InertPickle:
    """What torch.load takes as its pickle module."""

    Unpickler = InertUnpickler

    @staticmethod
    def load(file: IO[bytes], **options: Any) -> Any:
        """Like pickle.load, with stand-ins."""
        return InertUnpickler(file, **options).load()


def load_inert(path: str | Path) -> Any:
    """What torch.save wrote, on the CPU, with stand-ins (`Inert`) for all but plain values and tensors.

    Reads torch's zip files and the ones before them (.pth.tar of torch 1.5 and older).

    Args:
        path: the file.

    Raises:
        pickle.UnpicklingError: it is a program, or in torch's oldest format.
        Exception: it is damaged; of whatever kind its bytes lead to.
    """
    with warnings.catch_warnings(), open(path, "rb") as file:
        warnings.simplefilter("ignore")
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
