"""A module of a 2-D CNN whose input passes through a temporal module first: the entry of a residual branch."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn


class TemporalEntry:
    """What marks such a module. It is of a subclass of its own class, made by `put_before`."""

    temporal: nn.Module


def put_before(module: nn.Module, temporal: nn.Module) -> None:
    """Let `temporal` run on the first argument of `module`, whose submodule it becomes; changes `module` in place."""
    # A subclass and not a forward pre-hook: torch.compile does not look at hooks when it decides whether what it
    # compiled for one network serves another one, so the plain network's code would run for the one with hooks.
    module.__class__ = _entering(type(module))
    module.temporal = temporal


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class that a module was of before a temporal module was put before it."""
    return type(module).__bases__[1] if isinstance(module, TemporalEntry) else type(module)


@cache
def _entering(plain: type[nn.Module]) -> type[nn.Module]:
    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return plain.forward(self, self.temporal(x), *args, **kwargs)

    def reduce(self: Any, protocol: int) -> tuple[Any, ...]:  # for copies and pickles, which look classes up by name
        return _blank, (plain,), self.__dict__

    return type(f"Temporal{plain.__name__}", (TemporalEntry, plain), {"forward": forward, "__reduce_ex__": reduce})


def _blank(plain: type[nn.Module]) -> nn.Module:
    cls = _entering(plain)
    return cls.__new__(cls)
