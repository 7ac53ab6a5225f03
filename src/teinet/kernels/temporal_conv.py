"""`temporal_conv`, gate and temporal kernel in one pass, and its operator.

y_t = V[-1] g_{t-1} x_{t-1} + V[0] g_t x_t + V[1] g_{t+1} x_{t+1},    zeros outside the clip

Backward, with S_{t,i} = sum over pixels of x_{t+i} dy_t, one pass over x and dy computes everything:

dx_t = g_t (V[1] dy_{t-1} + V[0] dy_t + V[-1] dy_{t+1}),   dV[i] = sum_t g_{t+i} S_{t,i},   dg_t = sum_i V[i] S_{t-i,i}

So the input is saved once, and the gated input is never written. In the causal form (lag 1) V lies on t-2, t-1, t.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from teinet.errors import ConfigError
from teinet.kernels.build import address, function
from teinet.kernels.dispatch import check_together, define, differentiate, refuse_second_derivatives, runs_triton

_TAPS = 3
_CHUNKS = 16  # parts of a clip's pixels that are summed separately: enough for any number of cores


def temporal_conv(
    x: Tensor, weight: Tensor | None = None, gate: Tensor | None = None, *, num_frames: int, lag: int = 0
) -> Tensor:
    """Scale each channel of each frame by a gate, then mix it with its neighbors in time; return it channels-last.

    Args:
        x: (B*T, C, H, W), the frames of a clip adjacent, of a type and on a device for which `fuses` is true.
        weight: (C, 3), the factors of frames t-1, t, t+1 (V in Eq. 4); None does not mix (MEM alone).
        gate: (B*T, C), or as many numbers in that order; None does not scale (TIM alone).
        num_frames: T, at least 1; divides the batch.
        lag: 0, or 1 for the causal form, in which the weight multiplies frames t-2, t-1, t; the gate does not lag.

    Raises:
        ConfigError: shapes that do not fit together.
        TypeError: a number type that the kernel does not compute.

    Source: TEINet, arXiv 1911.09435, Eq. 3 and 4.
    """
    # the kernels read bare addresses, so shapes are checked here too
    if x.dim() != 4 or num_frames < 1 or x.shape[0] % num_frames or lag not in (0, 1):
        raise ConfigError(f"x must be (B*T, C, H, W) for T = {num_frames}, lag 0 or 1; got {tuple(x.shape)}, {lag!r}.")
    frames, channels = x.shape[:2]
    if weight is not None and tuple(weight.shape) != (channels, _TAPS):
        raise ConfigError(f"weight must be (C, 3) for C = {channels}, got {tuple(weight.shape)}.")
    if gate is not None and gate.numel() != frames * channels:
        raise ConfigError(f"gate must hold B*T x C = {frames} x {channels} numbers, got {tuple(gate.shape)}.")
    if gate is not None:
        gate = gate.reshape(frames, channels).to(torch.float32)
    return _operator(x, weight, gate, num_frames, lag)


def _forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    check_together(x, weight, gate)
    x, weight, gate = channels_last(x), _contiguous(weight), _contiguous(gate)
    if runs_triton(x):
        from teinet.kernels import triton_kernels

        return triton_kernels.forward(x, weight, gate, num_frames, lag)
    frames, channels, height, width = x.shape
    y = torch.empty_like(x)
    function("forward", x.dtype, (x if weight is None else weight).dtype)(
        x.data_ptr(), address(weight), address(gate), y.data_ptr(),
        frames // num_frames, num_frames, height * width, channels, lag, torch.get_num_threads(),
    )  # fmt: skip
    return y


def _backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int, wants_x: bool,
    wants_sums: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return dx and S (B, T, 3, C) float32, each an empty tensor if it is not wanted."""
    check_together(x, dy, weight, gate)
    x, dy, weight, gate = channels_last(x), channels_last(dy.to(x.dtype)), _contiguous(weight), _contiguous(gate)
    if runs_triton(x):
        from teinet.kernels import triton_kernels

        dx, sums = triton_kernels.backward(dy, x, weight, gate, num_frames, lag, wants_x, wants_sums)
    else:
        frames, channels, height, width = x.shape
        clips, pixels = frames // num_frames, height * width
        chunks = min(_CHUNKS, pixels)
        dx = torch.empty_like(x) if wants_x else None
        sums = x.new_empty((clips, chunks, num_frames, _TAPS, channels), dtype=torch.float32) if wants_sums else None
        function("backward", x.dtype, (x if weight is None else weight).dtype)(
            dy.data_ptr(), x.data_ptr(), address(weight), address(gate), address(dx), address(sums),
            clips, num_frames, pixels, channels, lag, chunks, torch.get_num_threads(),
        )  # fmt: skip
    empty = x.new_empty(0, dtype=torch.float32)
    return x.new_empty(0) if dx is None else dx, empty if sums is None else sums.sum(1)


def channels_last(x: Tensor) -> Tensor:
    """Return x (N, C, H, W) stored as (N, H, W, C)."""
    return x.contiguous(memory_format=torch.channels_last)


def _contiguous(small: Tensor | None) -> Tensor | None:
    return None if small is None else small.contiguous()


def _backward_shapes(dy, x, weight, gate, num_frames, lag, wants_x, wants_sums):
    dx = torch.empty_like(x, memory_format=torch.channels_last) if wants_x else x.new_empty(0)
    shape = (x.shape[0] // num_frames, num_frames, _TAPS, x.shape[1]) if wants_sums else (0,)
    return dx, x.new_empty(shape, dtype=torch.float32)


def _flops(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    """Return the cost of the depthwise convolution; as in the paper, the gate's product does not count."""
    return 0 if weight_shape is None else 2 * _TAPS * prod(x_shape)


_operator = define(
    "temporal_conv(Tensor x, Tensor? weight, Tensor? gate, int num_frames, int lag=0) -> Tensor",
    dict.fromkeys(("CPU", "CUDA"), _forward),
    lambda x, weight, gate, num_frames, lag=0: torch.empty_like(x, memory_format=torch.channels_last),
    _flops,
)
backward_operator = define(
    "temporal_conv_backward(Tensor dy, Tensor x, Tensor? weight, Tensor? gate, int num_frames, int lag, "
    "bool wants_x, bool wants_sums) -> (Tensor, Tensor)",
    dict.fromkeys(("CPU", "CUDA"), _backward),
    _backward_shapes,
    lambda dy_shape, x_shape, weight_shape, *_, **__: 2 * _flops(x_shape, weight_shape),
)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, gate, ctx.num_frames, ctx.lag = inputs
    ctx.save_for_backward(x, weight, gate)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
    refuse_second_derivatives()
    x, weight, gate = ctx.saved_tensors
    wants_x, wants_weight, wants_gate = ctx.needs_input_grad[:3]
    wants_sums = wants_weight or wants_gate
    dx, sums = backward_operator(dy, x, weight, gate, ctx.num_frames, ctx.lag, wants_x, wants_sums)
    d_weight = weight_gradient(sums, gate, ctx.lag).to(weight.dtype) if wants_weight else None
    d_gate = gate_gradient(sums, weight, ctx.lag) if wants_gate else None
    return dx if wants_x else None, d_weight, d_gate, None, None


differentiate(_operator, _save, _gradients)


def weight_gradient(sums: Tensor, gate: Tensor | None, lag: int) -> Tensor:
    """Return dV (C, 3) from S (B, T, 3, C)."""
    if gate is not None:
        g = gate.view_as(sums[:, :, 0])
        sums = sums * torch.stack([_later(g, lag + 1 - i) for i in range(_TAPS)], 2)
    return sums.sum((0, 1)).t().contiguous()


def gate_gradient(sums: Tensor, weight: Tensor | None, lag: int) -> Tensor:
    """Return dg (B*T, C) from S (B, T, 3, C)."""
    if weight is None:
        return sums[:, :, 1].flatten(0, 1)
    # tap i of frame t reads frame t - lag - 1 + i
    each = [weight[:, i] * _later(sums[:, :, i], i - 1 - lag) for i in range(_TAPS)]
    return (each[0] + each[1] + each[2]).flatten(0, 1)


def _later(values: Tensor, frames: int) -> Tensor:
    """Return values (B, T, C) shifted by -2 to 2 frames, positive to later ones; zeros come in."""
    return F.pad(values, (0, 0, 2, 2))[:, 2 - frames : 2 - frames + values.shape[1]]
