"""The temporal modules of the paper (TEINet, section 3) and those it is compared with, for any 2-D CNN."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from teinet.errors import ConfigError, nearest
from teinet.layers.cells import MEMCell, SETIMCell, TEICell, TIMCell, TSMCell, cell_for
from teinet.layers.se import SE, SETIM
from teinet.layers.tei import MEM, TEI, TIM
from teinet.layers.temporal_layer import TemporalLayer
from teinet.layers.tsm import TSM

__all__ = [
    "LAYERS", "MEM", "MEMCell", "SE", "SETIM", "SETIMCell", "TEI", "TEICell", "TIM", "TIMCell", "TSM", "TSMCell",
    "TemporalLayer", "build", "cell_for",
]  # fmt: skip

LAYERS: dict[str, Callable[..., nn.Module]] = {  # by name; `teinet.register_temporal` adds more
    "tei": TEI,
    "tim": TIM,
    "mem": MEM,
    "se_tim": SETIM,
    "se": SE,
    "tsm": TSM,
}

_SHARED = ("channels", "num_frames", "causal")  # of all, and not options of one


def build(name: str, channels: int, *, num_frames: int, causal: bool = False, **options: Any) -> nn.Module:
    """Return the temporal layer called `name` for `channels` channels and clips of `num_frames` frames.

    Args:
        name: "tei", "tim", "mem", "se_tim", "se", "tsm", or "none" (TSN: an identity).
        channels, num_frames, causal: see `TemporalLayer`; "se" and "none" are always causal.
        options: the layer's own (reduction, gate, init, n_div).

    Raises:
        ConfigError: a name or option that does not exist, or a value out of its range.
    """
    check(name, options)
    if name == "none":
        return nn.Identity()
    layer = LAYERS[name]
    if causal and "causal" in inspect.signature(layer).parameters:
        options["causal"] = True
    return layer(channels, num_frames=num_frames, **options)


def check(name: str, options: dict[str, Any]) -> None:
    """Raise ConfigError for an unknown temporal layer, and for options that it does not have."""
    names = [*LAYERS, "none"]
    if name not in names:
        raise ConfigError(
            f"unknown temporal module {name!r}; choose from {', '.join(names)}.{nearest(str(name), names)}"
        )
    known = () if name == "none" else inspect.signature(LAYERS[name]).parameters
    valid = [key for key in known if key not in _SHARED]
    for option in options:
        if option not in valid:
            takes = f"its options are {', '.join(valid)}" if valid else "it has no options"
            raise ConfigError(f"temporal module {name!r} has no option {option!r}; {takes}.{nearest(option, valid)}")
