"""`temporal_step` and `motion_step`: causal `temporal_conv` and `motion_gate` frame by frame, on a CPU; no gradients.

g_t = sigmoid(W3 (W1 p_{t-1} + b1 - W2 p_t - b2) + b3) + offset,    1 where there was no frame t-1
u_t = g_t x_t      y_t = V0 u_{t-2} + V1 u_{t-1} + V2 u_t
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from teinet.kernels.build import TYPES, address, function
from teinet.kernels.dispatch import check_together, define, form_for, is_channels_last
from teinet.kernels.motion_gate import Squeeze


def fuses_step(x: Tensor, one: Tensor, two: Tensor) -> bool:
    """Return whether `temporal_step` computes a call on these frames."""
    same = one.dtype == two.dtype == x.dtype and is_channels_last(one) and is_channels_last(two)
    return same and form_for(x) == "cpu"


def temporal_step(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    """Return one frame of each of N streams after gate and temporal kernel, like x.

    Args:
        x: (N, C, H, W), frame t.
        weight: (C, 3), the factors of frames t-2, t-1, t.
        gate: (N, C), or None for ones.
        one, two: like x, the gated frames t-1 and t-2, zeros if there are none. `two` becomes the gated frame t.
    """
    weight, gate = weight.to(torch.float32), None if gate is None else gate.to(torch.float32)
    # the dispatcher costs as much as the work in a small block, and is of use to compilers only
    return (_step if torch.compiler.is_compiling() else _step_forward)(x, weight, gate, one, two)


def fuses_motion_step(x: Tensor, weights: Squeeze, before: Tensor) -> bool:
    """Return whether `motion_step` computes a call on these tensors."""
    types = weights.w1.dtype in TYPES and weights.w3.dtype == weights.w1.dtype and before.dtype == torch.float32
    return types and form_for(x) == "cpu"


def motion_step(x: Tensor, weights: Squeeze, before: Tensor, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return MEM's factors (N, C) for one frame of each of N streams, and `before` for the next frame.

    Args:
        x: (N, C, H, W), frame t.
        weights, offset: see `motion_gate`.
        before: (N, C+1), the pooled features of frame t-1 and 1; zeros if there was no frame t-1.
    """
    run = _motion if torch.compiler.is_compiling() else _motion_forward
    return run(x, *weights, before, offset)


def _step_forward(x: Tensor, weight: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    check_together(x, weight, gate, one, two)
    streams, channels, height, width = x.shape
    weight, gate = weight.contiguous(), None if gate is None else gate.contiguous()
    y = torch.empty_like(x)
    function("step", x.dtype)(
        x.data_ptr(), one.data_ptr(), two.data_ptr(), weight.data_ptr(), address(gate), y.data_ptr(),
        streams, height * width, channels, torch.get_num_threads(),
    )  # fmt: skip
    return y


_step = define(
    "temporal_step(Tensor x, Tensor weight, Tensor? gate, Tensor one, Tensor(a!) two) -> Tensor",
    {"CPU": _step_forward},
    lambda x, weight, gate, one, two: torch.empty_like(x, memory_format=torch.channels_last),
    lambda x_shape, *_, **__: 2 * 3 * prod(x_shape),
)


def _motion_forward(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, before: Tensor, offset: float
) -> tuple[Tensor, Tensor]:
    check_together(x, w1, b1, w2, b2, w3, b3, before)
    x, before = x.contiguous(memory_format=torch.channels_last), before.contiguous()
    weights = [w.contiguous() for w in (w1, b1, w2, b2, w3, b3)]
    streams, channels, height, width = x.shape
    pooled = torch.empty_like(before)
    hidden = before.new_empty((streams, w1.shape[0]))
    scale = before.new_empty((streams, channels))
    function("motion_step", x.dtype, w1.dtype)(
        x.data_ptr(), *(w.data_ptr() for w in weights), before.data_ptr(), pooled.data_ptr(), hidden.data_ptr(),
        scale.data_ptr(), streams, height * width, channels, w1.shape[0], offset, torch.get_num_threads(),
    )  # fmt: skip
    return scale, pooled


_motion = define(
    "motion_step(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor before, "
    "float offset) -> (Tensor, Tensor)",
    {"CPU": _motion_forward},
    lambda x, w1, b1, w2, b2, w3, b3, before, offset: (before.new_empty(x.shape[:2]), torch.empty_like(before)),
    lambda x_shape, w1_shape, *_, **__: 2 * 3 * x_shape[0] * w1_shape[0] * w1_shape[1],
)
