"""Batch normalisation in training and the activation after it as one operation on a CPU, forward and backward.

Apart, they take two fifths of a training step of an EfficientNet there: each reads and writes all pixels, and an
activation that overwrites its input has to keep a copy of it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from teinet.kernels import choice, cpu

if TYPE_CHECKING:
    from timm.layers import BatchNormAct2d

_PASSES: dict[type[nn.Module], tuple[float, float]] = {  # what an activation lets through unchanged
    nn.Identity: (-inf, inf),
    nn.ReLU: (0.0, inf),
    nn.ReLU6: (0.0, 6.0),
}


@contextmanager
def fast_norms(model: nn.Module) -> Iterator[None]:
    """A context in which the batch norms of `model` are computed by the fast operation, wherever it fits.

    It fits timm's `BatchNormAct2d` with ReLU, ReLU6 or no activation, in training mode, on channels-last float32 on a
    CPU, outside autocast. Results are the same up to rounding; first derivatives only. Everything else goes its usual
    way (torch's own batch norm is as fast where it stands alone, as in a ResNet), and with the context's end all does.
    """
    swapped = []
    for module in model.modules():
        if (bounds := _bounds(module)) is not None and "forward" not in vars(module):
            module.forward = partial(_forward, module, *bounds)
            swapped.append(module)
    try:
        yield
    finally:
        for module in swapped:
            del module.forward


def _bounds(module: nn.Module) -> tuple[float, float] | None:
    from timm.layers import BatchNormAct2d  # here: layers alone are to be imported without it

    if type(module) is BatchNormAct2d and type(module.drop) is nn.Identity:
        return _PASSES.get(type(module.act))
    return None


def _forward(norm: BatchNormAct2d, low: float, high: float, x: Tensor) -> Tensor:
    if not (norm.training and _fits(norm, x)):
        return type(norm).forward(norm, x)
    norm.num_batches_tracked.add_(1)
    momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    y, mean, variance = _BatchNormAct.apply(x, norm.weight, norm.bias, norm.eps, low, high)
    values = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * (values / (values - 1)), momentum)
    return y


def _fits(norm: BatchNormAct2d, x: Tensor) -> bool:
    return (
        norm.affine
        and norm.track_running_stats
        and x.dim() == 4
        and x.shape[1] == norm.num_features
        and x.numel() > x.shape[1]
        and x.dtype == norm.weight.dtype == norm.running_mean.dtype == torch.float32
        and x.is_cpu
        and norm.weight.is_cpu
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and choice.form_for(x) == "cpu"
    )


class _BatchNormAct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, low: float, high: float) -> tuple:
        mean, variance = cpu.batch_norm_moments(x)
        inverse = (variance + eps).rsqrt()
        scale = (weight * inverse).float()
        shift = (bias - mean * weight * inverse).float()
        ctx.save_for_backward(x, scale, shift, mean.float(), inverse)
        ctx.bounds = (low, high)
        mean, variance = mean.float(), variance.float()
        ctx.mark_non_differentiable(mean, variance)
        return cpu.batch_norm_apply(x, scale, shift, low, high), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _mean: Tensor, _variance: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, inverse = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        bias, along = cpu.batch_norm_sums(dy, x, scale, shift, mean, *ctx.bounds)
        dx = None
        if ctx.needs_input_grad[0]:
            values = x.numel() // x.shape[1]
            slope = -scale * inverse.square() * along / values
            constant = -scale * bias / values - slope * mean
            dx = cpu.batch_norm_gradient(dy, x, scale, shift, slope.float(), constant.float(), *ctx.bounds)
        return dx, (along * inverse).float(), bias.float(), None, None, None
