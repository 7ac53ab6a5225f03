"""The operations on a CPU: hands tensors to the compiled code (native/). Channels-last float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from teinet.kernels import build

TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_CHUNKS = 16  # parts of a clip's pixels whose sums are kept apart: enough for the cores, whatever their number


def forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    """y of x (B*T, C, H, W), channels-last float32 or bfloat16; weight (C, 3) and gate (B*T, C) float32, contiguous."""
    frames, channels, height, width = x.shape
    y = torch.empty_like(x)
    _function("forward", x.dtype)(
        x.data_ptr(), _address(weight), _address(gate), y.data_ptr(),
        frames // num_frames, num_frames, height * width, channels, lag, torch.get_num_threads(),
    )  # fmt: skip
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    gate: Tensor | None,
    num_frames: int,
    lag: int,
    wants_x: bool,
    wants_sums: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """dx like x, and the sums S (B, chunks, T, 3, C) float32; None for what is not wanted."""
    frames, channels, height, width = x.shape
    clips, pixels = frames // num_frames, height * width
    chunks = min(_CHUNKS, pixels)
    dx = torch.empty_like(x) if wants_x else None
    sums = x.new_empty((clips, chunks, num_frames, 3, channels), dtype=torch.float32) if wants_sums else None
    _function("backward", x.dtype)(
        dy.data_ptr(), x.data_ptr(), _address(weight), _address(gate), _address(dx), _address(sums),
        clips, num_frames, pixels, channels, lag, chunks, torch.get_num_threads(),
    )  # fmt: skip
    return dx, sums


def motion_gate(x: Tensor, weights: Sequence[Tensor], num_frames: int, offset: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (B, T, C), pooled (B*T, C) and hidden (B*(T-1), C/r), float32; weights contiguous, of one type."""
    frames, channels, height, width = x.shape
    clips, squeezed, threads = frames // num_frames, weights[0].shape[0], torch.get_num_threads()
    pooled = x.new_empty((frames, channels), dtype=torch.float32)
    hidden = x.new_empty((clips * (num_frames - 1), squeezed), dtype=torch.float32)
    scale = x.new_empty((clips, num_frames, channels), dtype=torch.float32)
    _function("motion_gate", x.dtype, weights[0].dtype)(
        x.data_ptr(), *(weight.data_ptr() for weight in weights), pooled.data_ptr(), hidden.data_ptr(),
        scale.data_ptr(), clips, num_frames, height * width, channels, squeezed, offset, threads,
    )  # fmt: skip
    return scale, pooled, hidden


def motion_step(x: Tensor, weights: Sequence[Tensor], before: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """Scale and pooled, (N, C) float32, of one frame of N streams, and of `before`, the frames' before it."""
    streams, channels, height, width = x.shape
    squeezed = weights[0].shape[0]
    pooled = x.new_empty((streams, channels), dtype=torch.float32)
    hidden = x.new_empty((streams, squeezed), dtype=torch.float32)
    scale = torch.empty_like(pooled)
    _function("motion_step", x.dtype, weights[0].dtype)(
        x.data_ptr(), *(weight.data_ptr() for weight in weights), before.data_ptr(), pooled.data_ptr(),
        hidden.data_ptr(), scale.data_ptr(), streams, height * width, channels, squeezed, offset,
        torch.get_num_threads(),
    )  # fmt: skip
    return scale, pooled


def step(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    """y of one frame of N streams, like x, and u in `two`; all channels-last, of one type; weight and gate float32."""
    streams, channels, height, width = x.shape
    y = torch.empty_like(x)
    _function("step", x.dtype)(
        x.data_ptr(), one.data_ptr(), two.data_ptr(), weight.data_ptr(), _address(gate), y.data_ptr(),
        streams, height * width, channels, torch.get_num_threads(),
    )  # fmt: skip
    return y


@cache
def _function(name: str, *types: torch.dtype) -> Callable:
    if not set(types) <= set(TYPES) or (library := build.native()) is None:
        kinds = " and ".join(map(str, types))
        raise TypeError(f"no fast form computes {kinds} on a CPU here; call the functions of teinet.kernels")
    return getattr(library, "_".join((name, *(TYPES[each] for each in types))))


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
