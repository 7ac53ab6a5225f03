"""`tei`, MEM's gate and TIM's temporal kernel in one call, and its operator.

p_t = gap(x_t)      h_t = W1 p_t + b1 - (W2 p_{t+1} + b2)      scale_t = sigmoid(W3 h_t + b3) + offset      scale_T = 1

In the causal form scale_t multiplies frame t+1, and frame 1 is multiplied by 1. The rest is `temporal_conv`.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from teinet.kernels.build import TYPES, address, function
from teinet.kernels.dispatch import (
    TRITON_TYPES,
    check_together,
    define,
    differentiate,
    form_for,
    refuse_second_derivatives,
    runs_triton,
)  # fmt: skip
from teinet.kernels.temporal_conv import backward_operator, channels_last, gate_gradient, weight_gradient


class Squeeze(NamedTuple):
    """The weights of MEM's 1x1 convolutions: conv1 and conv2 (C/r, C, 1, 1), conv3 (C, C/r, 1, 1), and their biases."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor


def fuses_tei(x: Tensor, weights: Squeeze) -> bool:
    """Return whether `tei` computes a call on x (B*T, C, H, W) with these weights."""
    kind, form = weights.w1.dtype, form_for(x)
    known = kind in TYPES if form == "cpu" else form == "triton" and kind in TRITON_TYPES
    return known and all(w.dtype == kind for w in weights)


def tei(
    x: Tensor, weights: Squeeze, kernel: Tensor | None = None, *, num_frames: int, causal: bool = False,
    offset: float = 0.0,
) -> Tensor:  # fmt: skip
    """Scale each channel of each frame by MEM's gate, then mix it with its neighbors in time; return it channels-last.

    Args:
        x: (B*T, C, H, W), the frames of a clip adjacent; `fuses_tei` must be true for it.
        kernel: (C, 3), of the number type of the weights; None does not mix (MEM alone).
        num_frames: T, at least 2; divides the batch.
        causal: see `teinet.layers.TEI`.
        offset: added to the sigmoid: 0 for the paper's gate, 0.5 for the residual one.

    Raises:
        ValueError: shapes that do not fit together.
        TypeError: a number type that the kernel does not compute.

    Source: TEINet, arXiv 1911.09435, Eq. 1-4.
    """
    check_shapes(x, weights, kernel)
    if num_frames < 2 or x.shape[0] % num_frames:
        raise ValueError(f"x {tuple(x.shape)} is not clips of {num_frames} frames, of at least 2")
    return _operator(x, *weights, kernel, num_frames, causal, offset)[0]


def check_shapes(x: Tensor, weights: Squeeze, kernel: Tensor | None) -> None:
    """Raise ValueError if shapes do not fit together, as the kernels read bare addresses."""
    w1, b1, w2, b2, w3, b3 = weights
    hidden, channels = len(w1), x.shape[1]
    narrow = w1.shape[1] == channels and w2.shape == w1.shape and b1.numel() == b2.numel() == hidden
    wide = len(w3) == b3.numel() == channels and w3.numel() == w1.numel() == hidden * channels
    if not narrow or not wide or (kernel is not None and kernel.shape != (channels, 3)):
        shapes = ", ".join(str(tuple(w.shape)) for w in (*weights, kernel) if w is not None)
        raise ValueError(f"shapes do not match: x {tuple(x.shape)}, weights {shapes}")


def _forward(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, kernel: Tensor | None,
    num_frames: int, causal: bool, offset: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return y, and what the gradients need, one after the other in float32: see `_sizes`."""
    check_together(x, w1, b1, w2, b2, w3, b3, kernel)
    x, kernel = channels_last(x), None if kernel is None else kernel.contiguous()
    weights = [w.contiguous() for w in (w1, b1, w2, b2, w3, b3)]  # named here, so that they live while they are read
    frames, channels, height, width = x.shape
    sizes = scale, pooled, _ = _sizes(x, len(w1), num_frames)
    kept = torch.empty(sum(sizes), dtype=torch.float32, device=x.device)
    if runs_triton(x):
        from teinet.kernels import triton_kernels

        gate, means, hidden = kept.split(sizes)
        gate, means, hidden = gate.view(x.shape[:2]), means.view(x.shape[:2]), hidden.view(-1, len(w1))
        triton_kernels.motion_gate(x, weights, gate, means, hidden, num_frames, causal, offset)
        return triton_kernels.forward(x, kernel, gate, num_frames, int(causal)), kept
    y, place = torch.empty_like(x), kept.data_ptr()
    function("tei", x.dtype, w1.dtype)(
        x.data_ptr(), *[w.data_ptr() for w in weights], address(kernel), y.data_ptr(), place, place + 4 * scale,
        place + 4 * (scale + pooled), frames // num_frames, num_frames, height * width, channels, len(w1), causal,
        offset, torch.get_num_threads(),
    )  # fmt: skip
    return y, kept


def _sizes(x: Tensor, squeezed: int, num_frames: int) -> tuple[int, int, int]:
    """Return the lengths of scale (B, T, C), pooled (B*T, C) and hidden (B*(T-1), C/r)."""
    frames, channels = x.shape[:2]
    return frames * channels, frames * channels, (frames - frames // num_frames) * squeezed


def _shapes(x, w1, b1, w2, b2, w3, b3, kernel, num_frames, causal, offset):
    kept = x.new_empty(sum(_sizes(x, w1.shape[0], num_frames)), dtype=torch.float32)
    return torch.empty_like(x, memory_format=torch.channels_last), kept


def _flops(x_shape, w1_shape, b1, w2, b2, w3, b3, kernel_shape, num_frames, *_: Any, **__: Any) -> int:
    gates = 2 * 3 * (x_shape[0] // num_frames * (num_frames - 1)) * w1_shape[0] * w1_shape[1]
    return gates + (0 if kernel_shape is None else 2 * 3 * prod(x_shape))


_operator = define(
    "tei(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, Tensor? kernel, int num_frames, "
    "bool causal, float offset) -> (Tensor, Tensor)",
    dict.fromkeys(("CPU", "CUDA"), _forward),
    _shapes,
    _flops,
)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, w1, _, w2, _, w3, _, kernel, ctx.num_frames, ctx.causal, ctx.offset = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, w1, w2, w3, kernel, output[1])


def _gradients(ctx: Any, dy: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 11
    refuse_second_derivatives()
    x, w1, w2, w3, kernel, kept = ctx.saved_tensors
    gate, pooled, hidden = kept.split(_sizes(x, len(w1), ctx.num_frames))
    gate, scale = gate.view(x.shape[:2]), gate.view(-1, ctx.num_frames, x.shape[1])
    lag = int(ctx.causal and kernel is not None)
    wants_x, wants_kernel = ctx.needs_input_grad[0], ctx.needs_input_grad[7]
    dx, sums = backward_operator(dy, x, kernel, gate, ctx.num_frames, lag, wants_x, True)
    d_kernel = weight_gradient(sums, gate, lag).to(w1.dtype) if wants_kernel else None
    d_scale = gate_gradient(sums, kernel, lag).view_as(scale)
    if ctx.causal:  # as if each gate were on the earlier frame of its two
        d_scale, scale = d_scale.roll(-1, 1), scale.roll(-1, 1)

    kind, (w1, w2, w3) = w1.dtype, (w.flatten(1).float() for w in (w1, w2, w3))
    frames, channels, height, width = x.shape
    pooled = pooled.view(-1, ctx.num_frames, channels)
    this, following = pooled[:, :-1].flatten(0, 1), pooled[:, 1:].flatten(0, 1)  # (B*(T-1), C)
    sigmoid = scale[:, :-1] - ctx.offset
    d_sum = (d_scale[:, :-1] * sigmoid * (1 - sigmoid)).flatten(0, 1)  # (B*(T-1), C)
    d_hidden = d_sum @ w3  # (B*(T-1), C/r)
    dw1, dw2, dw3 = d_hidden.t() @ this, -(d_hidden.t() @ following), d_sum.t() @ hidden.view(-1, len(w1))
    db1, db3 = d_hidden.sum(0), d_sum.sum(0)
    small = (dw1[:, :, None, None], db1, dw2[:, :, None, None], -db1, dw3[:, :, None, None], db3)
    if wants_x:
        d_this, d_following = (d_hidden @ torch.cat([w1, w2], 1)).view(-1, ctx.num_frames - 1, 2 * channels).chunk(2, 2)
        d_pooled = F.pad(d_this, (0, 0, 0, 1)) - F.pad(d_following, (0, 0, 1, 0))
        dx += (d_pooled / (height * width)).to(x.dtype).view(frames, channels, 1, 1)
    return dx if wants_x else None, *(each.to(kind) for each in small), d_kernel, None, None, None


differentiate(_operator, _save, _gradients)
