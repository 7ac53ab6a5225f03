"""The gated temporal convolution as Triton kernels for CUDA: each program slides over the frames of one tile.

A tile is some pixels by some channels of one clip. The three frames that meet in one output stay in registers, so every
value is read once and written once. Sums over pixels are kept for each tile and added up afterwards, in a fixed order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Values of a tile: a program keeps its part of three frames in its registers (96 and 119 of a thread's on Hopper).
_FORWARD_VALUES, _BACKWARD_VALUES = 2048, 1024
_WARPS = 4


@triton.jit
def _forward(
    x, weight, gate, y, frames, pixels, channels,
    HAS_WEIGHT: tl.constexpr, HAS_GATE: tl.constexpr, LAG: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    clip = tl.program_id(2).to(tl.int64)
    real = c < channels
    mask = (p < pixels)[:, None] & real[None, :]
    size = tl.cast(pixels, tl.int64) * channels
    at = clip * frames * size + p.to(tl.int64)[:, None] * channels + c[None, :]
    g = clip * frames * channels + c
    if HAS_WEIGHT:
        v0 = tl.load(weight + 3 * c, mask=real, other=0.0)[None, :]
        v1 = tl.load(weight + 3 * c + 1, mask=real, other=0.0)[None, :]
        v2 = tl.load(weight + 3 * c + 2, mask=real, other=0.0)[None, :]
    before = tl.zeros([ROWS, LANES], tl.float32)
    here = tl.zeros([ROWS, LANES], tl.float32)
    if LAG == 0:
        here = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if HAS_GATE:
            here *= tl.load(gate + g, mask=real, other=0.0)[None, :]
    for t in range(frames):
        after = tl.zeros([ROWS, LANES], tl.float32)
        if t + 1 - LAG < frames:
            after = tl.load(x + at + (1 - LAG) * size, mask=mask, other=0.0).to(tl.float32)
            if HAS_GATE:
                after *= tl.load(gate + g + (1 - LAG) * channels, mask=real, other=0.0)[None, :]
        out = here
        if HAS_WEIGHT:
            out = v0 * before + v1 * here + v2 * after
        tl.store(y + at, out.to(y.dtype.element_ty), mask=mask)
        before = here
        here = after
        at += size
        g += channels


@triton.jit
def _backward(
    dy, x, weight, gate, dx, sums, frames, pixels, channels,
    HAS_WEIGHT: tl.constexpr, HAS_GATE: tl.constexpr, WANTS_X: tl.constexpr, WANTS_SUMS: tl.constexpr,
    LAG: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    p = chunk * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    clip = tl.program_id(2).to(tl.int64)
    real = c < channels
    mask = (p < pixels)[:, None] & real[None, :]
    size = tl.cast(pixels, tl.int64) * channels
    at = clip * frames * size + p.to(tl.int64)[:, None] * channels + c[None, :]
    g = clip * frames * channels + c
    s = (clip * tl.num_programs(0) + chunk) * frames * 3 * channels + c
    if HAS_WEIGHT:
        v0 = tl.load(weight + 3 * c, mask=real, other=0.0)[None, :]
        v1 = tl.load(weight + 3 * c + 1, mask=real, other=0.0)[None, :]
        v2 = tl.load(weight + 3 * c + 2, mask=real, other=0.0)[None, :]
    zeros = tl.zeros([ROWS, LANES], tl.float32)
    # Each value that the loop carries begins as zeros of its own: Triton takes names that share a value for one.
    # dx_t needs dy of frames t-1, t, t+1 after the lag; the sums of frame t need dy_t, and x of t-1, t, t+1 before it
    d_before = zeros
    if LAG == 1:
        d_before = tl.load(dy + at, mask=mask, other=0.0).to(tl.float32)
    d_here = tl.zeros([ROWS, LANES], tl.float32)
    if LAG < frames:
        d_here = tl.load(dy + at + LAG * size, mask=mask, other=0.0).to(tl.float32)
    x_before = tl.zeros([ROWS, LANES], tl.float32)
    x_here = tl.zeros([ROWS, LANES], tl.float32)
    if WANTS_SUMS and LAG == 0:
        x_here = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    for t in range(frames):
        d_after = zeros
        x_after = zeros
        if t + 1 + LAG < frames:
            d_after = tl.load(dy + at + (1 + LAG) * size, mask=mask, other=0.0).to(tl.float32)
        if WANTS_SUMS:
            if t + 1 - LAG < frames:
                x_after = tl.load(x + at + (1 - LAG) * size, mask=mask, other=0.0).to(tl.float32)
        if WANTS_X:
            out = d_here
            if HAS_WEIGHT:
                out = v2 * d_before + v1 * d_here + v0 * d_after
            if HAS_GATE:
                out *= tl.load(gate + g, mask=real, other=0.0)[None, :]
            tl.store(dx + at, out.to(dx.dtype.element_ty), mask=mask)
        if WANTS_SUMS:
            d_now = d_here
            if LAG == 1:
                d_now = d_before
            tl.store(sums + s, tl.sum(x_before * d_now, 0), mask=real)
            tl.store(sums + s + channels, tl.sum(x_here * d_now, 0), mask=real)
            tl.store(sums + s + 2 * channels, tl.sum(x_after * d_now, 0), mask=real)
        d_before = d_here
        d_here = d_after
        x_before = x_here
        x_here = x_after
        at += size
        g += channels
        s += 3 * channels


def forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    """Return y for x (B*T, C, H, W), channels-last; weight (C, 3) and gate (B*T, C) float32, contiguous."""
    y = torch.empty_like(x)
    grid, sizes, tile = _plan(x, num_frames, _FORWARD_VALUES)
    with _on(x):
        launch: Any = _forward[grid]  # Triton's own types know neither launching nor constants
        launch(
            x, _or(weight, x), _or(gate, x), y, *sizes,
            HAS_WEIGHT=weight is not None, HAS_GATE=gate is not None, LAG=0 if weight is None else lag, **tile,
            num_warps=_WARPS,
        )  # fmt: skip
    return y


def backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int, wants_x: bool,
    wants_sums: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Return dx like x, and the sums S (B, chunks, T, 3, C) float32; None for each that is not wanted."""
    grid, (frames, pixels, channels), tile = _plan(x, num_frames, _BACKWARD_VALUES)
    dx = torch.empty_like(x) if wants_x else None
    sums = x.new_empty((grid[2], grid[0], frames, 3, channels), dtype=torch.float32) if wants_sums else None
    with _on(x):
        launch: Any = _backward[grid]
        launch(
            dy, x, _or(weight, x), _or(gate, x), _or(dx, x), _or(sums, x), frames, pixels, channels,
            HAS_WEIGHT=weight is not None, HAS_GATE=gate is not None, WANTS_X=wants_x, WANTS_SUMS=wants_sums,
            LAG=0 if weight is None else lag, **tile, num_warps=_WARPS,
        )  # fmt: skip
    return dx, sums


def _plan(x: Tensor, num_frames: int, values: int) -> tuple[tuple[int, int, int], tuple[int, int, int], dict[str, int]]:
    """Return the grid (chunks of pixels, blocks of channels, clips), the sizes for the kernels, and the tile."""
    frames, channels, height, width = x.shape
    pixels = height * width
    lanes = min(64, triton.next_power_of_2(channels))
    rows = min(triton.next_power_of_2(pixels), max(1, values // lanes))
    grid = (triton.cdiv(pixels, rows), triton.cdiv(channels, lanes), frames // num_frames)
    return grid, (num_frames, pixels, channels), {"ROWS": rows, "LANES": lanes}


def _or(tensor: Tensor | None, stand_in: Tensor) -> Tensor:
    """Return a tensor for the kernel: a stand-in, which it does not read, for None."""
    return stand_in if tensor is None else tensor


def _on(x: Tensor) -> AbstractContextManager:
    """Make x's device current, as Triton launches on the current one."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
