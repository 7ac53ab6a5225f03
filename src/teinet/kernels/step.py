"""`temporal_step` and `tei_step`: causal `temporal_conv` and `tei` for the next frames, on a CPU; no gradients.

g_t = sigmoid(W3 (W1 p_{t-1} + b1 - W2 p_t - b2) + b3) + offset,    1 where there was no frame t-1
u_t = g_t x_t      y_t = V0 u_{t-2} + V1 u_{t-1} + V2 u_t
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from teinet.kernels.build import TYPES, address, function
from teinet.kernels.dispatch import check_together, define, form_for, is_channels_last
from teinet.kernels.fused_tei import Squeeze, check_shapes
from teinet.kernels.temporal_conv import channels_last


def fuses_step(x: Tensor, one: Tensor, two: Tensor) -> bool:
    """Return whether `temporal_step` computes a call on these frames, and `tei_step` if `fuses_tei` is true as well."""
    same = one.dtype == two.dtype == x.dtype and is_channels_last(one) and is_channels_last(two)
    return same and form_for(x) == "cpu"


def temporal_step(x: Tensor, kernel: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    """Return the next K frames of each of N streams after gate and temporal kernel, like x.

    Args:
        x: (N*K, C, H, W), the frames of a stream adjacent.
        kernel: (C, 3), the factors of frames t-2, t-1, t.
        gate: (N*K, C), or None for ones.
        one, two: (N, C, H, W), the gated frames t-1 and t-2 of the first, zeros if there are none. Afterwards `two` is
            the last gated frame, and `one` that before it.
    """
    gate = None if gate is None else gate.to(torch.float32)
    kernel = kernel if kernel.dtype in TYPES else kernel.to(torch.float32)
    # the dispatcher costs as much as the work in a small block, and is of use to compilers only
    return (_step if torch.compiler.is_compiling() else _step_forward)(x, kernel, gate, one, two)


def tei_step(
    x: Tensor, weights: Squeeze, before: Tensor, kernel: Tensor, one: Tensor, two: Tensor, offset: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return what `temporal_step` does, with MEM's gate, and `before` for the next frames.

    Args:
        x, kernel, one, two: see `temporal_step`; the kernel is of the weights' number type.
        weights, offset: see `tei`.
        before: (N, C+1), float32: the pooled features of the frame before the first and 1; zeros if there was none.

    Raises:
        ValueError: shapes that do not fit together.
    """
    check_shapes(x, weights, kernel)
    run = _tei_step if torch.compiler.is_compiling() else _tei_step_forward
    y, pooled = run(x, *weights, before, kernel, one, two, offset)
    count = len(x) // len(one)
    return y, pooled if count == 1 else pooled[count - 1 :: count]


def _step_forward(x: Tensor, kernel: Tensor, gate: Tensor | None, one: Tensor, two: Tensor) -> Tensor:
    check_together(x, kernel, gate, one, two)
    frames, channels, height, width = x.shape
    x, kernel, gate = channels_last(x), kernel.contiguous(), None if gate is None else gate.contiguous()
    y = torch.empty_like(x)
    function("step", x.dtype, kernel.dtype)(
        x.data_ptr(), one.data_ptr(), two.data_ptr(), kernel.data_ptr(), address(gate), y.data_ptr(),
        len(one), frames // len(one), height * width, channels, torch.get_num_threads(),
    )  # fmt: skip
    return y


_step = define(
    "temporal_step(Tensor x, Tensor kernel, Tensor? gate, Tensor(a!) one, Tensor(b!) two) -> Tensor",
    {"CPU": _step_forward},
    lambda x, kernel, gate, one, two: torch.empty_like(x, memory_format=torch.channels_last),
    lambda x_shape, *_, **__: 2 * 3 * prod(x_shape),
)


def _tei_step_forward(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, before: Tensor, kernel: Tensor,
    one: Tensor, two: Tensor, offset: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return y and pooled (N*K, C+1), of each frame its pooled features and 1."""
    check_together(x, w1, b1, w2, b2, w3, b3, before, kernel, one, two)
    x, before, kernel = channels_last(x), before.contiguous(), kernel.contiguous()
    weights = [w.contiguous() for w in (w1, b1, w2, b2, w3, b3)]
    frames, channels, height, width = x.shape
    y, pooled = torch.empty_like(x), before.new_empty((frames, channels + 1))
    function("tei_step", x.dtype, w1.dtype)(
        x.data_ptr(), *(w.data_ptr() for w in weights), kernel.data_ptr(), before.data_ptr(), one.data_ptr(),
        two.data_ptr(), y.data_ptr(), pooled.data_ptr(), len(one), frames // len(one), height * width, channels,
        w1.shape[0], offset, torch.get_num_threads(),
    )  # fmt: skip
    return y, pooled


_tei_step = define(
    "tei_step(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor before, "
    "Tensor kernel, Tensor(a!) one, Tensor(b!) two, float offset) -> (Tensor, Tensor)",
    {"CPU": _tei_step_forward},
    lambda x, w1, b1, w2, b2, w3, b3, before, kernel, one, two, offset: (
        torch.empty_like(x, memory_format=torch.channels_last), before.new_empty((x.shape[0], x.shape[1] + 1)),
    ),
    lambda x_shape, w1_shape, *_, **__: 2 * 3 * (x_shape[0] * w1_shape[0] * w1_shape[1] + prod(x_shape)),
)  # fmt: skip
