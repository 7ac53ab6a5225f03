"""The operations on a CPU: hands tensors to the compiled code (native/). Channels-last float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from teinet.kernels import build

TYPES = (torch.float32, torch.bfloat16)
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_CHUNKS = 16  # parts of a clip's pixels whose sums are kept apart: enough for the cores, whatever their number


def forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int) -> Tensor:
    """y of x (B*T, C, H, W), channels-last float32 or bfloat16; weight (C, 3) and gate (B*T, C) float32, contiguous."""
    y = torch.empty_like(x)
    _function("forward", x)(*_pointers(x, weight, gate, y), *_sizes(x, num_frames), torch.get_num_threads())
    return y


def backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, wants_x: bool, wants_sums: bool
) -> tuple[Tensor | None, Tensor | None]:
    """dx like x, and the sums S (B, chunks, T, 3, C) float32; None for what is not wanted."""
    clips, frames, pixels, channels = sizes = _sizes(x, num_frames)
    chunks = min(_CHUNKS, pixels)
    dx = torch.empty_like(x) if wants_x else None
    sums = x.new_empty((clips, chunks, frames, 3, channels), dtype=torch.float32) if wants_sums else None
    pointers = _pointers(dy, x, weight, gate, dx, sums)
    _function("backward", x)(*pointers, *sizes, chunks, torch.get_num_threads())
    return dx, sums


def motion_gate(x: Tensor, weights: Sequence[Tensor], num_frames: int, offset: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (B, T, C), pooled (B*T, C) and hidden (B*(T-1), C/r), float32; weights contiguous, of one type."""
    clips, frames, pixels, channels = _sizes(x, num_frames)
    squeezed = weights[0].shape[0]
    pooled = x.new_empty((clips * frames, channels), dtype=torch.float32)
    hidden = x.new_empty((clips * (frames - 1), squeezed), dtype=torch.float32)
    scale = x.new_empty((clips, frames, channels), dtype=torch.float32)
    threads = torch.get_num_threads()
    _function("pool", x)(*_pointers(x, pooled), clips * frames, pixels, channels, threads)
    pointers = _pointers(pooled, *weights, hidden, scale)
    _function("gate", weights[0])(*pointers, clips, frames, channels, squeezed, offset, threads)
    return scale, pooled, hidden


def _function(name: str, x: Tensor) -> Callable:
    return getattr(build.native(), f"{name}_{_NAMES[x.dtype]}")


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def _sizes(x: Tensor, num_frames: int) -> tuple[int, int, int, int]:
    frames, channels, height, width = x.shape
    return frames // num_frames, num_frames, height * width, channels
