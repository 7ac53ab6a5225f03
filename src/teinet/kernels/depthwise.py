"""The backward pass of a backbone's depthwise convolutions on a CPU, both gradients in one pass.

Libraries compute kernels above 3 x 3 over small pictures channel by channel there: in an EfficientNet of 112 pixels a
fifth of a training step goes into three such layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from teinet.kernels import choice, cpu

_LIBRARY_IS_FAST = 9  # taps up to which the library's own pass is as fast


class FastDepthwise(TorchFunctionMode):
    """A context in which `torch.conv2d` has the fast backward pass, wherever it fits; results are the same.

    It fits where one filter stands for each channel, with more than nine taps, and the input is channels-last float32
    on a CPU, outside autocast, with gradients wanted. First derivatives only. Everything else goes its usual way.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.conv2d and torch.is_grad_enabled():
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    if not isinstance(padding, str) and _fits(input, weight, groups):
        return _Depthwise.apply(input, weight, bias, _pair(stride), _pair(padding), _pair(dilation))
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _fits(x: Tensor, weight: Tensor, groups: int) -> bool:
    return (
        groups == weight.shape[0]
        and x.dim() == 4
        and x.shape[1] == groups > 1
        and _LIBRARY_IS_FAST < weight.shape[2] * weight.shape[3] <= cpu.MOST_TAPS
        and x.dtype == weight.dtype == torch.float32
        and x.is_cpu
        and (x.requires_grad or weight.requires_grad)
        and not torch.is_autocast_enabled("cpu")
        and choice.form_for(x) == "cpu"
    )


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, dilation)
        return torch.conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        dx = dw = None
        if wants_x or wants_weight:
            dy = dy.contiguous(memory_format=torch.channels_last)
            dx, dw = cpu.depthwise_backward(dy, x, weight, *ctx.geometry, wants_x, wants_weight)
        return dx, dw, dy.sum((0, 2, 3)) if wants_bias else None, None, None, None
