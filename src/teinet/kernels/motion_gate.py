"""`motion_gate`, MEM's gate from features to factors, and its operator.

p_t = gap(x_t)      h_t = W1 p_t + b1 - (W2 p_{t+1} + b2)      scale_t = sigmoid(W3 h_t + b3) + offset      scale_T = 1
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from teinet.kernels.build import TYPES, function
from teinet.kernels.dispatch import check_together, define, differentiate, form_for, refuse_second_derivatives


class Squeeze(NamedTuple):
    """The weights of MEM's 1x1 convolutions: conv1 and conv2 (C/r, C, 1, 1), conv3 (C, C/r, 1, 1), and their biases."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor


def fuses_gate(x: Tensor, weights: Squeeze) -> bool:
    """Return whether `motion_gate` computes a call on x (B*T, C, H, W) with these weights."""
    return form_for(x) == "cpu" and weights.w1.dtype in TYPES and all(w.dtype == weights.w1.dtype for w in weights)


def motion_gate(x: Tensor, weights: Squeeze, *, num_frames: int, offset: float = 0.0) -> Tensor:
    """Return scale (B, T, C), float32: the factor of each channel of each frame, 1 for the last frame.

    Args:
        x: (B*T, C, H, W), the frames of a clip adjacent; `fuses_gate` must be true for it.
        num_frames: T, at least 2; divides the batch.
        offset: added to the sigmoid: 0 for the paper's gate, 0.5 for the residual one.

    Raises:
        ValueError: shapes that do not fit together.
        TypeError: a number type that the kernel does not compute.

    Source: TEINet, arXiv 1911.09435, Eq. 1-3.
    """
    narrow, hidden, channels = (weights.b1.shape[0], x.shape[1]), weights.b1.shape, x.shape[1:2]
    fit = [narrow, hidden, narrow, hidden, narrow[::-1], channels]
    if [w.shape[:2] for w in weights] != fit or num_frames < 2 or x.shape[0] % num_frames:
        shapes = ", ".join(str(tuple(w.shape)) for w in weights)
        raise ValueError(f"shapes do not match: x {tuple(x.shape)}, T = {num_frames}, weights {shapes}")
    return _operator(x, *weights, num_frames, offset)[0]


def _forward(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, num_frames: int, offset: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scale (B, T, C), pooled (B*T, C) and hidden (B*(T-1), C/r), float32."""
    check_together(x, w1, b1, w2, b2, w3, b3)
    x = x.contiguous(memory_format=torch.channels_last)
    weights = [w.contiguous() for w in (w1, b1, w2, b2, w3, b3)]  # named here, so that they live while they are read
    frames, channels, height, width = x.shape
    clips, squeezed = frames // num_frames, w1.shape[0]
    pooled = x.new_empty((frames, channels), dtype=torch.float32)
    hidden = x.new_empty((clips * (num_frames - 1), squeezed), dtype=torch.float32)
    scale = x.new_empty((clips, num_frames, channels), dtype=torch.float32)
    function("motion_gate", x.dtype, w1.dtype)(
        x.data_ptr(), *(w.data_ptr() for w in weights), pooled.data_ptr(), hidden.data_ptr(), scale.data_ptr(),
        clips, num_frames, height * width, channels, squeezed, offset, torch.get_num_threads(),
    )  # fmt: skip
    return scale, pooled, hidden


def _shapes(x, w1, b1, w2, b2, w3, b3, num_frames, offset):
    (frames, channels), clips = x.shape[:2], x.shape[0] // num_frames
    shapes = (clips, num_frames, channels), (frames, channels), (clips * (num_frames - 1), w1.shape[0])
    return tuple(x.new_empty(shape, dtype=torch.float32) for shape in shapes)


def _flops(x_shape, w1_shape, b1, w2, b2, w3, b3, num_frames, *_: Any, **__: Any) -> int:
    return 2 * 3 * (x_shape[0] // num_frames * (num_frames - 1)) * w1_shape[0] * w1_shape[1]


_operator = define(
    "motion_gate(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3, int num_frames, "
    "float offset) -> (Tensor, Tensor, Tensor)",
    {"CPU": _forward},
    _shapes,
    _flops,
)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, w1, _, w2, _, w3, _, ctx.num_frames, ctx.offset = inputs
    ctx.shape, ctx.dtype, ctx.weight_dtype = x.shape, x.dtype, w1.dtype
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(w1, w2, w3, *output)


def _gradients(ctx: Any, d_scale: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if d_scale is None:
        return (None,) * 9
    refuse_second_derivatives()
    w1, w2, w3, scale, pooled, hidden = ctx.saved_tensors
    w1, w2, w3 = (w.flatten(1).float() for w in (w1, w2, w3))
    frames, channels, height, width = ctx.shape
    pooled = pooled.view(-1, ctx.num_frames, channels)
    this, following = pooled[:, :-1].flatten(0, 1), pooled[:, 1:].flatten(0, 1)  # (B*(T-1), C)
    sigmoid = scale[:, :-1] - ctx.offset
    d_sum = (d_scale[:, :-1] * sigmoid * (1 - sigmoid)).flatten(0, 1)  # (B*(T-1), C)
    d_hidden = d_sum @ w3  # (B*(T-1), C/r)
    dw1, dw2, dw3 = d_hidden.t() @ this, -(d_hidden.t() @ following), d_sum.t() @ hidden
    db1, db3 = d_hidden.sum(0), d_sum.sum(0)
    small = (dw1[:, :, None, None], db1, dw2[:, :, None, None], -db1, dw3[:, :, None, None], db3)
    dx = None
    if ctx.needs_input_grad[0]:
        d_pooled = torch.zeros_like(pooled)
        d_pooled[:, :-1] += (d_hidden @ w1).view_as(d_pooled[:, :-1])
        d_pooled[:, 1:] -= (d_hidden @ w2).view_as(d_pooled[:, 1:])
        share = (d_pooled / (height * width)).to(ctx.dtype)
        dx = share.view(frames, channels, 1, 1).expand(ctx.shape)  # a view: it is written only where it is added
    return dx, *(each.to(ctx.weight_dtype) for each in small), None, None


differentiate(_operator, _save, _gradients)
