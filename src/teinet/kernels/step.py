"""`temporal_step` and `motion_step`: what `temporal_conv` and `motion_gate` give in the causal form, frame by frame.

g_t = sigmoid(W3 (W1 p_{t-1} + b1 - W2 p_t - b2) + b3) + offset
u_t = g_t x_t      y_t = V0 u_{t-2} + V1 u_{t-1} + V2 u_t

Without gradients: a stream is for recognising.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from teinet.kernels import cpu
from teinet.kernels.choice import form_for, is_channels_last
from teinet.kernels.gate import Squeeze
from teinet.kernels.operators import check_together, define
from teinet.kernels.reference import pool


def temporal_step(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """One frame of each of N streams through gate and temporal kernel.

    Args:
        x: (N, C, H, W), frame t.
        weight: (C, 3), what multiplies frames t-2, t-1, t.
        gate: (N, C), or None for ones.
        one, two: like x, the gated frames t-1 and t-2, zeros where there are none; of another number type they are
            kept in that. `two` may be overwritten.

    Returns:
        y like x, and the gated frame t like `two`.
    """
    plain = one.dtype == two.dtype == x.dtype and is_channels_last(one) and is_channels_last(two)
    if not plain or form_for(x) != "cpu":
        return _reference(x, weight, gate, one, two)
    weight, gate = weight.to(torch.float32), None if gate is None else gate.to(torch.float32)
    # the dispatcher costs as much as the work in a small block, and is of use to compilers only
    y = (_step if torch.compiler.is_compiling() else _step_forward)(x, weight, gate, one, two)
    return y, two


def motion_step(x: Tensor, weights: Squeeze, before: Tensor, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """MEM's factors for one frame of each of N streams, from the motion since the frame before.

    Args:
        x: (N, C, H, W), frame t.
        weights: of the three convolutions.
        before: (N, C), the pooled features of frame t-1.
        offset: see `motion_gate`.

    Returns:
        The factors (N, C), and the pooled features of frame t (N, C): what the next frame needs.
    """
    w1, b1, w2, b2, w3, b3 = weights
    types = w1.dtype in cpu.TYPES and w3.dtype == w1.dtype and before.dtype == torch.float32
    if types and form_for(x) == "cpu":
        run = _motion if torch.compiler.is_compiling() else _motion_forward
        return run(x, w1, b1, w2, b2, w3, b3, before, offset)
    pooled = pool(x)
    motion = F.linear(before.to(pooled.dtype), w1.flatten(1), b1) - F.linear(pooled, w2.flatten(1), b2)
    return F.linear(motion, w3.flatten(1), b3).sigmoid() + offset, pooled


def _reference(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    u = x if gate is None else x * gate.to(x.dtype)[:, :, None, None]
    v = weight.to(x.dtype).t()[:, None, :, None, None]  # (3, 1, C, 1, 1)
    y = v[2] * u + v[1] * one.to(x.dtype) + v[0] * two.to(x.dtype)
    # a copy, for x itself may be overwritten; not into `two`, for torch.compile has been seen to write before it reads
    return y, u.to(two.dtype, copy=True, memory_format=torch.preserve_format)


def _step_forward(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    check_together(x, weight, gate, one, two)
    return cpu.step(x, weight.contiguous(), None if gate is None else gate.contiguous(), one, two)


def _step_shapes(x, weight, gate, one, two):
    return torch.empty_like(x, memory_format=torch.channels_last)


def _step_flops(x_shape, *_, **__) -> int:
    return 2 * 3 * x_shape[0] * x_shape[1] * x_shape[2] * x_shape[3]


_step = define(
    "temporal_step(Tensor x, Tensor weight, Tensor? gate, Tensor one, Tensor(a!) two) -> Tensor",
    {"CPU": _step_forward},
    _step_shapes,
    _step_flops,
)


def _motion_forward(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, before: Tensor, offset: float
) -> tuple[Tensor, Tensor]:
    check_together(x, w1, b1, w2, b2, w3, b3, before)
    weights = [w.contiguous() for w in (w1, b1, w2, b2, w3, b3)]
    return cpu.motion_step(x.contiguous(memory_format=torch.channels_last), weights, before.contiguous(), offset)


def _motion_shapes(x, w1, b1, w2, b2, w3, b3, before, offset):
    shape = x.shape[:2]
    return x.new_empty(shape, dtype=torch.float32), x.new_empty(shape, dtype=torch.float32)


def _motion_flops(x_shape, w1_shape, *_, **__) -> int:
    return 2 * 3 * x_shape[0] * w1_shape[0] * w1_shape[1]


_motion = define(
    "motion_step(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor before, "
    "float offset) -> (Tensor, Tensor)",
    {"CPU": _motion_forward},
    _motion_shapes,
    _motion_flops,
)
