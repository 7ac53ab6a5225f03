"""3-D layers that compute in 2-D where they can, with the parameters, keys and outputs of torch's.

Activations (B, C, T, H, W) in channels-last order have the memory of frames (B*T, C, H, W), and that of (B, C, T, H*W).
So a convolution over space is a 2-D one over frames, a convolution over time a 2-D one over times and pixels, and pools
are 2-D as well. None of these views is a copy. Norms are 3-D ones, whose results are no views: what is changed in place
behind them costs autograd no copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)
Triple = tuple[int, int, int]


def to_frames(x: Tensor) -> Tensor:
    """Return (B, C, T, H, W) as frames (B*T, C, H, W), channels last; a view where x is channels last."""
    return _rows(x).flatten(0, 1).permute(0, 3, 1, 2)


def to_clips(frames: Tensor, clips: int) -> Tensor:
    """Return frames (B*T, C, H, W) as (B, C, T, H, W) for B clips; a view."""
    return frames.permute(0, 2, 3, 1).unflatten(0, (clips, -1)).permute(0, 4, 1, 2, 3)


def over_time(x: Tensor) -> Tensor:
    """Return (B, C, T, H, W) as (B, C, T, H*W), channels last; a view where x is channels last."""
    return _rows(x).flatten(2, 3).permute(0, 3, 1, 2)


def over_space(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return (B, C, T, H*W) as (B, C, T, H, W), its size (H, W); a view, the inverse of `over_time`."""
    return x.permute(0, 2, 3, 1).unflatten(2, size).permute(0, 4, 1, 2, 3)


def _rows(x: Tensor) -> Tensor:
    """Return (B, C, T, H, W) as (B, T, H, W, C), whose views keep the strides by which torch knows channels last.

    Views of x itself would give an axis of size 1, as one clip has, another stride: torch would change the layout.
    """
    return x.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1)


class _TimeConv(torch.autograd.Function):
    """A convolution over time whose weights' gradient is one matrix product for each of its times.

    (B, C, T, N), N pixels, becomes (B, O, T', N) by weights (O, C, k, 1). torch's own gradient of these is slower on
    a CPU where there are few clips of many pixels (`python -m benchmarks.systems --training` times whole networks).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, (stride, 1), (padding, 0))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grad_outputs[0].contiguous(memory_format=torch.channels_last)
        how = ((ctx.stride, 1), (ctx.padding, 0), (1, 1), False, (0, 0), 1, (ctx.needs_input_grad[0], False, False))
        of_input = torch.ops.aten.convolution_backward(grad, x, weight, None, *how)[0]
        taps = [_tap_gradient(grad, x, i - ctx.padding, ctx.stride) for i in range(weight.shape[2])]
        return of_input, torch.stack(taps, dim=1).transpose(1, 2).unsqueeze(3), None, None


def _tap_gradient(grad: Tensor, x: Tensor, shift: int, stride: int) -> Tensor:
    """Return the gradient (O, C) of a kernel's time that multiplies input t * stride + shift for output t."""
    first = -(-max(-shift, 0) // stride)
    last = min(grad.shape[2], (x.shape[2] - 1 - shift) // stride + 1)
    if last <= first:
        return grad.new_zeros(grad.shape[1], x.shape[1])
    inputs = x[:, :, first * stride + shift :: stride][:, :, : last - first]
    together = (1, 2) if stride == 1 else (0, 1)  # one product of a clip's times, or of each, where they lie apart
    one, other = (each.permute(0, 2, 3, 1).flatten(*together) for each in (grad[:, :, first:last], inputs))
    return (one.transpose(1, 2) @ other).sum(dim=0)


class Conv3d(nn.Conv3d):
    """nn.Conv3d; a kernel over space or over time alone is computed in 2-D, and in inference on a CPU most others."""

    def forward(self, input: Tensor) -> Tensor:
        (time, *space), stride = self.kernel_size, self.stride
        padding: Any = self.padding
        if time == 1 and padding[0] == 0:
            return self._over_frames(input[:, :, :: stride[0]], self.weight.squeeze(2), self.bias)
        if space == [1, 1] and tuple(padding[1:]) == (0, 0):
            x = input[..., :: stride[1], :: stride[2]]
            how = ((stride[0], 1), (padding[0], 0), 1, self.groups)
            if self._has_slow_gradient(x):
                out = _TimeConv.apply(over_time(x), self.weight.flatten(3), stride[0], padding[0])
            else:
                out = F.conv2d(over_time(x), self.weight.flatten(3), self.bias, *how)
            return over_space(out, x.shape[3:])
        reaches = 2 * padding[0] < time <= input.shape[2] + 2 * padding[0]
        if _infers_on_cpu(input) and stride[0] == 1 and reaches and self.in_channels > 3:
            return self._sum_over_times(input)
        return super().forward(input.contiguous(memory_format=torch.channels_last_3d))

    def _over_frames(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        how: Any = (self.stride[1:], self.padding[1:], 1, self.groups)
        return to_clips(F.conv2d(to_frames(x), weight, bias, *how), len(x))

    def _sum_over_times(self, x: Tensor) -> Tensor:
        """Return the sum of convolutions over space, one for each of the kernel's times.

        torch's conv3d is several times slower where one clip has few values: ARTNet takes 0.76 of its time.
        """
        time, padding = self.kernel_size[0], int(self.padding[0])
        count = x.shape[2] + 2 * padding - time + 1
        kernels = self.weight.unbind(2)
        total = self._over_frames(x[:, :, :count], kernels[padding], self.bias)  # this one reaches all outputs
        for i in range(time):
            first, last = max(padding - i, 0), min(x.shape[2] + padding - i, count)
            if i != padding and first < last:
                inputs = x[:, :, first + i - padding : last + i - padding]
                total[:, :, first:last] += self._over_frames(inputs, kernels[i], None)
        return total

    def _has_slow_gradient(self, x: Tensor) -> bool:
        """Return whether torch's gradient of this kernel over time is slower than matrix products."""
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        in_float = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        plain = self.bias is None and self.groups == 1
        return learns and in_float and plain and min(self.in_channels, self.out_channels) >= 32


def conv(
    inner: int, outer: int, kernel: Triple = (3, 3, 3), stride: Triple = (1, 1, 1), *, bias: bool = False
) -> Conv3d:
    """Return a convolution that keeps the size where its stride is 1."""
    time, height, width = kernel
    return Conv3d(inner, outer, kernel, stride, (time // 2, height // 2, width // 2), bias=bias)


def _infers_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


class BatchNorm3d(nn.BatchNorm3d):
    """nn.BatchNorm3d; in inference on a CPU its output takes the memory of its input, which nothing else may read."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training or not _infers_on_cpu(input):
            return super().forward(input)
        unused = torch.empty(0, dtype=self.weight.dtype)  # statistics of this batch
        how = (self.weight, self.bias, self.running_mean, self.running_var, False, 0.0, self.eps)
        return torch.native_batch_norm(input, *how, out=(input, unused, unused))[0]


class MaxPool3d(nn.MaxPool3d):
    """nn.MaxPool3d: the largest value in space, then in time."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride, padding = (_triple(size) for size in (self.kernel_size, self.stride, self.padding))
        if (*kernel, *stride, *padding) == (3,) * 3 + (1,) * 6 and _infers_on_cpu(input):
            rows = _rows(input)
            for axis in (1, 2, 3):
                rows = _largest_of_three(rows, axis)
            return rows.permute(0, 4, 1, 2, 3)
        x = input
        if (kernel[1:], stride[1:]) != ((1, 1), (1, 1)):
            x = F.max_pool2d(to_frames(x), kernel[1:], stride[1:], padding[1:], ceil_mode=self.ceil_mode)
            x = to_clips(x, len(input))
        if (kernel[0], stride[0]) != (1, 1):
            how = ((kernel[0], 1), (stride[0], 1), (padding[0], 0))
            x = over_space(F.max_pool2d(over_time(x), *how, ceil_mode=self.ceil_mode), x.shape[3:])
        return x


def _largest_of_three(x: Tensor, axis: int) -> Tensor:
    """Return the largest of each value and its two neighbors; F.max_pool2d would write their places too."""
    out, count = x.clone(), x.shape[axis] - 1
    for ours, neighbors in ((1, 0), (0, 1)):
        part = out.narrow(axis, ours, count)
        torch.maximum(part, x.narrow(axis, neighbors, count), out=part)
    return out


def _triple(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) * 3 if isinstance(size, int) else tuple(size)


_IN_2D: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv3d: Conv3d,
    nn.MaxPool3d: MaxPool3d,
    nn.BatchNorm3d: BatchNorm3d,
}


def in_2d(net: Network) -> Network:
    """Let a network's 3-D layers compute in 2-D; return the same network, with the same parameters and keys."""
    for module in net.modules():
        module.__class__ = _IN_2D.get(type(module), type(module))
    return net


class ClipNetwork(nn.Module):
    """Base of networks with one answer a clip: frames (B*T, 3, H, W), those of a clip in turn, to logits (B, classes).

    Args:
        num_frames: T.
    """

    whole_clip = True  # an answer needs all frames, so none can be given while they come
    window: int | None = None  # side of the last feature map in training, for authors who move it over larger ones
    dropout: nn.Module

    def __init__(self, num_frames: int):
        super().__init__()
        self.num_frames = num_frames

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits (B, classes) of frames (B*T, 3, H, W)."""
        return self.classify(to_clips(frames, len(frames) // self.num_frames))

    def classify(self, clips: Tensor) -> Tensor:
        """Return the logits (B, classes) of clips (B, 3, T, H, W)."""
        return self.answer(self.feature_map(clips))

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map (B, C, T', H', W') of clips; networks without a single one have none."""
        raise ConfigError(f"{type(self).__name__} has no single last feature map to explain its answers by")

    def answer(self, features: Tensor) -> Tensor:
        """Return the logits (B, classes) of the last feature map: of its mean, behind dropout."""
        return self.answer_of_means(features.mean(dim=2))

    def answer_of_means(self, features: Tensor) -> Tensor:
        """Return the logits (B, classes) of means over time (B, C, H, W).

        Evaluation on maps larger than `window` averages the probabilities of all its positions; logits are their logs.
        """
        if self.training or self.window is None or max(features.shape[2:]) <= self.window:
            return self.get_classifier()(self.dropout(features.mean(dim=(2, 3))))
        means = F.avg_pool2d(features, [min(side, self.window) for side in features.shape[2:]], 1)
        scores = self.get_classifier()(means.flatten(2).transpose(1, 2)).log_softmax(dim=-1)
        return scores.logsumexp(dim=1) - math.log(scores.shape[1])

    def get_classifier(self) -> nn.Module:
        """Return the last layer, as timm's networks do."""
        return self.get_submodule("fc")


def channels_last(net: Network) -> Network:
    """Store the kernels of a network's convolutions channels last; return the same network."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in net.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    return net
