"""The operations in plain torch: the definitions that the other forms are checked against. Any device, type, layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from teinet.kernels.choice import is_channels_last


def temporal_conv(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    """See `teinet.kernels.temporal_conv`."""
    channels, height, width = x.shape[1:]
    if gate is not None:
        x = x * gate.reshape(-1, channels, 1, 1)
    if weight is None:
        return x
    # Time becomes the height of an image that is H*W wide: Eq. 4 is then a (3, 1) depthwise convolution, and in
    # channels-last memory every reshape here is a view (an axis of its own for time would cost two copies).
    # Padded by a frame more before and cut off behind, the same lags by that frame.
    clips, taps = x.shape[0] // num_frames, weight[:, None, :, None]  # (C, 1, 3, 1)
    if is_channels_last(x):
        clip = x.permute(0, 2, 3, 1).reshape(clips, num_frames, height * width, channels).permute(0, 3, 1, 2)
        y = F.conv2d(clip, taps, padding=(1 + lag, 0), groups=channels)[:, :, :num_frames]
        y = y.permute(0, 2, 3, 1).contiguous()  # (B, T, H*W, C)
        return y.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    clip = x.reshape(clips, num_frames, channels, height * width).transpose(1, 2)  # (B, C, T, H*W)
    y = F.conv2d(clip, taps, padding=(1 + lag, 0), groups=channels)[:, :, :num_frames]
    y = y.transpose(1, 2).contiguous()  # (B, T, C, H*W)
    return y.reshape(-1, channels, height, width)


def motion_gate(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, num_frames: int, offset: float
) -> Tensor:
    """See `teinet.kernels.motion_gate`."""
    channels = x.shape[1]
    pooled = pool(x).reshape(-1, num_frames, channels)  # (B, T, C)
    this, following = pooled[:, :-1].flatten(0, 1), pooled[:, 1:].flatten(0, 1)  # (B*(T-1), C)
    motion = F.linear(this, w1.flatten(1), b1) - F.linear(following, w2.flatten(1), b2)  # (B*(T-1), C/r)
    scale = F.linear(motion, w3.flatten(1), b3).sigmoid().reshape(-1, num_frames - 1, channels)
    if offset:
        scale = scale + offset
    return F.pad(scale, (0, 0, 0, 1), value=1.0)


def pool(x: Tensor) -> Tensor:
    """The mean over the pixels of x (N, C, H, W), as (N, C)."""
    # not x.mean: its backward writes out what it spreads over the pixels, where a sum's spreads a view
    height, width = x.shape[2:]
    if x.dtype == torch.float16:  # whose largest number a sum over a picture can pass
        return (x.sum(3) / width).sum(2) / height
    return x.sum((2, 3)) / (height * width)
