"""The gated temporal convolution and MEM's gate as Triton kernels for CUDA.

A program takes some pixels and some channels of all frames of a clip at once. The three frames that meet in one output
are read three times, but only the first time from far away: the others find them in the cache of the multiprocessor.
Sums over pixels are kept for each program and added up afterwards, in a fixed order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_FORWARD_VALUES, _BACKWARD_VALUES = 4096, 2048  # of a block of frames, pixels and channels: 32 and 16 for each thread
_TILES = 8  # blocks of pixels whose sums a program of the backward pass keeps in its registers
_POOLED = 64  # pixels that a program of the pooling sums at a time
_PROGRAMS = 1024  # of the pooling, to keep a large GPU busy
_PAIRS, _PRODUCTS = 16, 64  # pairs of frames of a program of the gate, and products of a sum that it forms at a time
_WARPS = 4


@triton.jit
def _load(x, clip, t, p, c, frames, pixels, channels):
    """Return frames t (F), pixels p (R), channels c (L) of a clip as (F, R, L) float32, zeros outside of it."""
    row = (clip * frames + t)[:, None] * pixels + p[None, :]  # clip is an int64
    inside = ((t >= 0) & (t < frames))[:, None] & (p < pixels)[None, :]
    at = row[:, :, None] * channels + c[None, None, :]
    return tl.load(x + at, mask=inside[:, :, None] & (c < channels)[None, None, :], other=0.0).to(tl.float32)


@triton.jit
def _gates(gate, clip, t, c, frames, channels):
    """Return the gates of frames t (F) and channels c (L) as (F, 1, L), zeros outside of the clip."""
    inside = ((t >= 0) & (t < frames))[:, None] & (c < channels)[None, :]
    return tl.load(gate + (clip * frames + t)[:, None] * channels + c[None, :], mask=inside, other=0.0)[:, None, :]


@triton.jit
def _tap(weight, i, c, channels):
    return tl.load(weight + 3 * c + i, mask=c < channels, other=0.0).to(tl.float32)[None, None, :]


@triton.jit
def _term(x, weight, gate, clip, t, p, c, frames, pixels, channels, i, HAS_GATE: tl.constexpr):
    taps = _tap(weight, i, c, channels)
    if HAS_GATE:
        taps = taps * _gates(gate, clip, t, c, frames, channels)
    return taps * _load(x, clip, t, p, c, frames, pixels, channels)


@triton.jit
def _store(y, values, clip, t, p, c, frames, pixels, channels):
    row = (clip * frames + t)[:, None] * pixels + p[None, :]
    inside = (t < frames)[:, None] & (p < pixels)[None, :]
    at = row[:, :, None] * channels + c[None, None, :]
    tl.store(y + at, values.to(y.dtype.element_ty), mask=inside[:, :, None] & (c < channels)[None, None, :])


@triton.jit
def _forward(
    x, weight, gate, y, frames, pixels, channels,
    HAS_WEIGHT: tl.constexpr, HAS_GATE: tl.constexpr, LAG: tl.constexpr,
    FRAMES: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    clip, t = tl.program_id(2).to(tl.int64), tl.arange(0, FRAMES)
    if HAS_WEIGHT:
        out = _term(x, weight, gate, clip, t - LAG - 1, p, c, frames, pixels, channels, 0, HAS_GATE)
        out += _term(x, weight, gate, clip, t - LAG, p, c, frames, pixels, channels, 1, HAS_GATE)
        out += _term(x, weight, gate, clip, t - LAG + 1, p, c, frames, pixels, channels, 2, HAS_GATE)
    else:
        out = _load(x, clip, t, p, c, frames, pixels, channels)
        if HAS_GATE:
            out *= _gates(gate, clip, t, c, frames, channels)
    _store(y, out, clip, t, p, c, frames, pixels, channels)


@triton.jit
def _backward(
    dy, x, weight, gate, dx, sums, frames, pixels, channels,
    HAS_WEIGHT: tl.constexpr, HAS_GATE: tl.constexpr, WANTS_X: tl.constexpr, WANTS_SUMS: tl.constexpr,
    LAG: tl.constexpr, FRAMES: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    clip, t = tl.program_id(2).to(tl.int64), tl.arange(0, FRAMES)
    # each value that the loop carries begins as zeros of its own: Triton takes names that share a value for one
    left = tl.zeros([FRAMES, ROWS, LANES], tl.float32)
    middle = tl.zeros([FRAMES, ROWS, LANES], tl.float32)
    right = tl.zeros([FRAMES, ROWS, LANES], tl.float32)
    for tile in range(TILES):
        p = (chunk * TILES + tile) * ROWS + tl.arange(0, ROWS)
        here = _load(dy, clip, t, p, c, frames, pixels, channels)
        if WANTS_X:
            out = here
            if HAS_WEIGHT:
                out = _tap(weight, 1, c, channels) * _load(dy, clip, t + LAG, p, c, frames, pixels, channels)
                out += _tap(weight, 0, c, channels) * _load(dy, clip, t + LAG + 1, p, c, frames, pixels, channels)
                out += _tap(weight, 2, c, channels) * _load(dy, clip, t + LAG - 1, p, c, frames, pixels, channels)
            if HAS_GATE:
                out *= _gates(gate, clip, t, c, frames, channels)
            _store(dx, out, clip, t, p, c, frames, pixels, channels)
        if WANTS_SUMS:
            left += here * _load(x, clip, t - LAG - 1, p, c, frames, pixels, channels)
            middle += here * _load(x, clip, t - LAG, p, c, frames, pixels, channels)
            right += here * _load(x, clip, t - LAG + 1, p, c, frames, pixels, channels)
    if WANTS_SUMS:
        row = (clip * tl.num_programs(0) + chunk) * frames + t
        at = sums + row[:, None] * 3 * channels + c[None, :]
        inside = (t < frames)[:, None] & (c < channels)[None, :]
        tl.store(at, tl.sum(left, 1), mask=inside)
        tl.store(at + channels, tl.sum(middle, 1), mask=inside)
        tl.store(at + 2 * channels, tl.sum(right, 1), mask=inside)


@triton.jit
def _pool(x, means, pixels, channels, length, ROWS: tl.constexpr, LANES: tl.constexpr):
    """Write the share of `length` pixels in a frame's mean: means (frames, chunks, C)."""
    chunk, frame = tl.program_id(0), tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    total = tl.zeros([ROWS, LANES], tl.float32)
    for first in range(0, length, ROWS):
        row = first + tl.arange(0, ROWS)
        p = chunk * length + row
        inside = ((row < length) & (p < pixels))[:, None] & (c < channels)[None, :]
        at = (frame * pixels + p)[:, None] * channels + c[None, :]
        total += tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    at = means + (frame * tl.num_programs(0) + chunk) * channels + c
    tl.store(at, tl.sum(total, 0) / pixels, mask=c < channels)


@triton.jit
def _products(rows, columns, inside_rows, inside_columns, length, PRODUCTS: tl.constexpr):
    """Return the products (N, M) of N rows and M columns of numbers, given where each begins."""
    k = tl.arange(0, PRODUCTS)
    total = tl.zeros([rows.shape[0], columns.shape[0]], tl.float32)
    for first in range(0, length, PRODUCTS):
        real = first + k < length
        a = tl.load(rows[:, None] + first + k[None, :], mask=inside_rows[:, None] & real[None, :], other=0.0)
        b = tl.load(columns[None, :] + first + k[:, None], mask=inside_columns[None, :] & real[:, None], other=0.0)
        total += tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return total


@triton.jit
def _hidden(
    pooled, w1, b1, w2, b2, hidden, pairs, frames, channels, squeezed,
    PAIRS: tl.constexpr, LANES: tl.constexpr, PRODUCTS: tl.constexpr,
):  # fmt: skip
    """Write h = W1 p_t + b1 - (W2 p_{t+1} + b2) for pairs of neighboring frames: hidden (pairs, C/r)."""
    n = tl.program_id(0) * PAIRS + tl.arange(0, PAIRS)
    r = tl.program_id(1) * LANES + tl.arange(0, LANES)
    frame = n + n // (frames - 1)  # a clip has one frame more than pairs
    inside = (n < pairs)[:, None] & (r < squeezed)[None, :]
    here, following = pooled + frame * channels, pooled + (frame + 1) * channels
    first = _products(here, w1 + r * channels, n < pairs, r < squeezed, channels, PRODUCTS)
    second = _products(following, w2 + r * channels, n < pairs, r < squeezed, channels, PRODUCTS)
    bias = tl.load(b1 + r, mask=r < squeezed, other=0.0).to(tl.float32)
    bias -= tl.load(b2 + r, mask=r < squeezed, other=0.0).to(tl.float32)
    tl.store(hidden + n[:, None] * squeezed + r[None, :], first - second + bias[None, :], mask=inside)


@triton.jit
def _scale(
    hidden, w3, b3, scale, pairs, frames, channels, squeezed, offset,
    CAUSAL: tl.constexpr, PAIRS: tl.constexpr, LANES: tl.constexpr, PRODUCTS: tl.constexpr,
):  # fmt: skip
    """Write sigmoid(W3 h + b3) + offset for the earlier frame of each pair (causal: the later), 1 for the other one."""
    n = tl.program_id(0) * PAIRS + tl.arange(0, PAIRS)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = (n < pairs)[:, None] & (c < channels)[None, :]
    sum3 = _products(hidden + n * squeezed, w3 + c * squeezed, n < pairs, c < channels, squeezed, PRODUCTS)
    sum3 += tl.load(b3 + c, mask=c < channels, other=0.0).to(tl.float32)[None, :]
    clip = n // (frames - 1)
    at = (n + clip + CAUSAL)[:, None] * channels + c[None, :]
    tl.store(scale + at, tl.sigmoid(sum3) + offset, mask=inside)
    alone = clip * frames + (0 if CAUSAL else frames - 1)
    first = inside & (n % (frames - 1) == 0)[:, None]
    tl.store(scale + alone[:, None] * channels + c[None, :], tl.full([PAIRS, LANES], 1.0, tl.float32), mask=first)


def forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    """Return y for x (B*T, C, H, W), channels-last; weight (C, 3), and gate (B*T, C) float32, contiguous."""
    y = torch.empty_like(x)
    grid, sizes, block = _plan(x, num_frames, _FORWARD_VALUES)
    with _on(x):
        launch: Any = _forward[grid]  # Triton's own types know neither launching nor constants
        launch(
            x, _or(weight, x), _or(gate, x), y, *sizes,
            HAS_WEIGHT=weight is not None, HAS_GATE=gate is not None, LAG=0 if weight is None else lag, **block,
            num_warps=_WARPS,
        )  # fmt: skip
    return y


def backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int, wants_x: bool,
    wants_sums: bool,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Return dx like x, and the sums S (B, chunks, T, 3, C) float32; None for each that is not wanted."""
    grid, (frames, pixels, channels), block = _plan(x, num_frames, _BACKWARD_VALUES)
    tiles = min(_TILES, grid[0])
    grid = (triton.cdiv(grid[0], tiles), *grid[1:])
    dx = torch.empty_like(x) if wants_x else None
    sums = x.new_empty((grid[2], grid[0], frames, 3, channels), dtype=torch.float32) if wants_sums else None
    with _on(x):
        launch: Any = _backward[grid]
        launch(
            dy, x, _or(weight, x), _or(gate, x), _or(dx, x), _or(sums, x), frames, pixels, channels,
            HAS_WEIGHT=weight is not None, HAS_GATE=gate is not None, WANTS_X=wants_x, WANTS_SUMS=wants_sums,
            LAG=0 if weight is None else lag, **block, TILES=tiles, num_warps=_WARPS,
        )  # fmt: skip
    return dx, sums


def motion_gate(
    x: Tensor, weights: list[Tensor], scale: Tensor, pooled: Tensor, hidden: Tensor, num_frames: int, causal: bool,
    offset: float,
) -> None:  # fmt: skip
    """Write MEM's scale (B, T, C), pooled (B*T, C) and hidden (B*(T-1), C/r), float32, for x (B*T, C, H, W)."""
    w1, b1, w2, b2, w3, b3 = weights
    (frames, channels, height, width), (pairs, squeezed) = x.shape, hidden.shape
    lanes, pixels = min(64, triton.next_power_of_2(channels)), height * width
    blocks = triton.cdiv(channels, lanes)
    chunks = max(1, min(_PROGRAMS // (frames * blocks), triton.cdiv(pixels, _POOLED)))
    means = pooled[:, None] if chunks == 1 else x.new_empty((frames, chunks, channels), dtype=torch.float32)
    of_pairs, narrow = triton.cdiv(pairs, _PAIRS), max(16, min(32, triton.next_power_of_2(squeezed)))
    wide = max(16, lanes)  # tl.dot takes blocks of 16 and more
    with _on(x):
        launch: Any = _pool[chunks, blocks, frames]
        launch(x, means, pixels, channels, triton.cdiv(pixels, chunks), ROWS=16, LANES=lanes, num_warps=_WARPS)
        if chunks > 1:
            torch.sum(means, 1, out=pooled)
        launch = _hidden[of_pairs, triton.cdiv(squeezed, narrow)]
        launch(
            pooled, w1, b1, w2, b2, hidden, pairs, num_frames, channels, squeezed,
            PAIRS=_PAIRS, LANES=narrow, PRODUCTS=_PRODUCTS, num_warps=_WARPS,
        )  # fmt: skip
        launch = _scale[of_pairs, triton.cdiv(channels, wide)]
        launch(
            hidden, w3, b3, scale, pairs, num_frames, channels, squeezed, offset,
            CAUSAL=causal, PAIRS=_PAIRS, LANES=wide, PRODUCTS=_PRODUCTS, num_warps=_WARPS,
        )  # fmt: skip


def _plan(x: Tensor, num_frames: int, values: int) -> tuple[tuple[int, int, int], tuple[int, int, int], dict[str, int]]:
    """Return the grid (blocks of pixels, of channels, clips), the sizes for the kernels, and the block."""
    frames, channels, height, width = x.shape
    pixels, together = height * width, triton.next_power_of_2(num_frames)
    lanes = min(64, triton.next_power_of_2(channels), max(1, values // together))
    rows = min(triton.next_power_of_2(pixels), max(1, values // (together * lanes)))
    grid = (triton.cdiv(pixels, rows), triton.cdiv(channels, lanes), frames // num_frames)
    return grid, (num_frames, pixels, channels), {"FRAMES": together, "ROWS": rows, "LANES": lanes}


def _or(tensor: Tensor | None, stand_in: Tensor) -> Tensor:
    """Return a tensor for the kernel: a stand-in, which it does not read, for None."""
    return stand_in if tensor is None else tensor


def _on(x: Tensor) -> AbstractContextManager:
    """Make x's device current, as Triton launches on the current one."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
