"""`temporal_conv`, gate and temporal kernel in one pass, and the operator behind it.

y_t = V[-1] g_{t-1} x_{t-1} + V[0] g_t x_t + V[1] g_{t+1} x_{t+1},    zeros outside the clip

Backwards, with S_{t,i} = sum over pixels of x_{t+i} dy_t, one pass over x and dy gives everything:

dx_t = g_t (V[1] dy_{t-1} + V[0] dy_t + V[-1] dy_{t+1}),   dV[i] = sum_t g_{t+i} S_{t,i},   dg_t = sum_i V[i] S_{t-i,i}

So the input is saved once, and the gated input is never written. With a lag of one frame, the causal form, t-1, t, t+1
become t-2, t-1, t.
"""

from __future__ import annotations

from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from teinet.errors import ConfigError
from teinet.kernels import choice, cpu, reference
from teinet.kernels.choice import form_for
from teinet.kernels.operators import check_together, define, differentiate, refuse_second_derivatives

_TAPS = 3


def temporal_conv(
    x: Tensor, weight: Tensor | None = None, gate: Tensor | None = None, *, num_frames: int, lag: int = 0
) -> Tensor:
    """Scale each channel of each frame by a gate, then mix it with its neighbours in time; one pass over memory.

    Args:
        x: (B*T, C, H, W), the frames of a clip adjacent.
        weight: (C, 3), what multiplies frames t-1, t, t+1 (Eq. 4's V); None does not mix (MEM alone).
        gate: (B*T, C), or as many numbers in that order; None scales nothing (TIM alone).
        num_frames: T, at least 1; divides the batch.
        lag: 0, or 1 for the causal form, in which the weight multiplies frames t-2, t-1, t; the gate never lags.

    Returns:
        Of x's shape and memory format; of its type, under autocast of autocast's.

    Raises:
        ConfigError: shapes that do not fit together.

    Source: TEINet, arXiv 1911.09435, Eq. 3 and 4.
    """
    _check(x, weight, gate, num_frames, lag)
    if weight is None and gate is None:
        return x
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        x = x.to(torch.get_autocast_dtype(device))
    if form_for(x) == "reference":
        weight, gate = _as(weight, x.dtype), _as(gate, x.dtype)
        return reference.temporal_conv(x, weight, gate, num_frames, lag)
    gate = None if gate is None else gate.reshape(x.shape[:2])
    return _operator(x, _as(weight, torch.float32), _as(gate, torch.float32), num_frames, lag)


def _check(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int) -> None:
    if x.dim() != 4 or num_frames < 1 or x.shape[0] % num_frames:
        raise ConfigError(f"x must be (B*T, C, H, W) for T = {num_frames}, got {tuple(x.shape)}.")
    if lag not in (0, 1):
        raise ConfigError(f"lag must be 0 or 1, got {lag!r}.")
    frames, channels = x.shape[:2]
    if weight is not None and tuple(weight.shape) != (channels, _TAPS):
        raise ConfigError(f"weight must be (C, 3) for C = {channels}, got {tuple(weight.shape)}.")
    if gate is not None and gate.numel() != frames * channels:
        raise ConfigError(f"gate must hold B*T x C = {frames} x {channels} numbers, got {tuple(gate.shape)}.")


def _as(small: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return small if small is None or small.dtype == dtype else small.to(dtype)


def _forms(x: Tensor) -> ModuleType:
    if x.is_cpu and not choice.is_triton_asked():
        return cpu
    from teinet.kernels import triton_form

    return triton_form


def _forward(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    check_together(x, weight, gate)
    return _forms(x).forward(_channels_last(x), _plain(weight), _plain(gate), num_frames, lag)


def _backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    gate: Tensor | None,
    num_frames: int,
    lag: int,
    wants_x: bool,
    wants_sums: bool,
) -> tuple[Tensor, Tensor]:
    """dx and S (B, T, 3, C) float32; an empty tensor for what is not wanted."""
    check_together(x, dy, weight, gate)
    x, dy = _channels_last(x), _channels_last(dy.to(x.dtype))
    dx, sums = _forms(x).backward(dy, x, _plain(weight), _plain(gate), num_frames, lag, wants_x, wants_sums)
    empty = x.new_empty(0, dtype=torch.float32)
    return x.new_empty(0) if dx is None else dx, empty if sums is None else sums.sum(1)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _plain(small: Tensor | None) -> Tensor | None:
    return None if small is None else small.contiguous()


def _shapes(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _backward_shapes(dy, x, weight, gate, num_frames, lag, wants_x, wants_sums):
    dx = torch.empty_like(x, memory_format=torch.channels_last) if wants_x else x.new_empty(0)
    shape = (x.shape[0] // num_frames, num_frames, _TAPS, x.shape[1]) if wants_sums else (0,)
    return dx, x.new_empty(shape, dtype=torch.float32)


def _flops(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    """Those of the depthwise convolution; the gate's product is not counted, as the paper does not."""
    return 0 if weight_shape is None else 2 * _TAPS * prod(x_shape)


def _backward_flops(dy_shape, x_shape, weight_shape, *_: Any, **__: Any) -> int:
    return 2 * _flops(x_shape, weight_shape)


_operator = define(
    "temporal_conv(Tensor x, Tensor? weight, Tensor? gate, int num_frames, int lag=0) -> Tensor",
    dict.fromkeys(("CPU", "CUDA"), _forward),
    _shapes,
    _flops,
)
_backward_operator = define(
    "temporal_conv_backward(Tensor dy, Tensor x, Tensor? weight, Tensor? gate, int num_frames, int lag, "
    "bool wants_x, bool wants_sums) -> (Tensor, Tensor)",
    dict.fromkeys(("CPU", "CUDA"), _backward),
    _backward_shapes,
    _backward_flops,
)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, gate, ctx.num_frames, ctx.lag = inputs
    ctx.save_for_backward(x, weight, gate)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
    refuse_second_derivatives()
    x, weight, gate = ctx.saved_tensors
    wants_x, wants_weight, wants_gate = ctx.needs_input_grad[:3]
    wants_sums = wants_weight or wants_gate
    dx, sums = _backward_operator(dy, x, weight, gate, ctx.num_frames, ctx.lag, wants_x, wants_sums)
    d_weight = _weight_gradient(sums, gate, ctx.lag) if wants_weight else None
    d_gate = _gate_gradient(sums, weight, ctx.lag) if wants_gate else None
    return dx if wants_x else None, d_weight, d_gate, None, None


differentiate(_operator, _save, _gradients)


def _weight_gradient(sums: Tensor, gate: Tensor | None, lag: int) -> Tensor:
    """(C, 3) from S (B, T, 3, C)."""
    if gate is not None:
        g = gate.view_as(sums[:, :, 0])
        sums = sums * torch.stack([_later(g, lag + 1 - i) for i in range(_TAPS)], 2)
    return sums.sum((0, 1)).t().contiguous()


def _gate_gradient(sums: Tensor, weight: Tensor | None, lag: int) -> Tensor:
    """(B*T, C) from S (B, T, 3, C)."""
    if weight is None:
        return sums[:, :, 1].flatten(0, 1)
    # tap i of frame t reads frame t - lag - 1 + i
    each = (weight[:, i] * _later(sums[:, :, i], i - 1 - lag) for i in range(_TAPS))
    return sum(each).flatten(0, 1)


def _later(values: Tensor, frames: int) -> Tensor:
    """values_{t-frames} at t, zeros outside, (B, T, C); negative: from later on."""
    if frames == 0:
        return values
    gap = torch.zeros_like(values[:, : abs(frames)])
    if frames > 0:
        return torch.cat([gap, values[:, : values.shape[1] - gap.shape[1]]], 1)
    return torch.cat([values[:, gap.shape[1] :], gap], 1)
