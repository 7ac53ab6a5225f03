"""What the temporal layers share: the number of frames, and the one check of what comes in.

Inside a 2-D CNN a clip batch travels as (B*T, C, H, W), the frames of a clip next to each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError


class TemporalLayer(nn.Module):
    """A layer that maps (B*T, C, H, W) to the same shape and looks across the T frames of each clip.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1; `teinet.set_num_frames` changes it in a whole network.
        causal: whether a frame sees itself and earlier ones only.

    Raises:
        ConfigError: a value below 1 or, of a layer's own, one that does not exist; in forward, a batch that T does not
            divide.
    """

    def __init__(self, channels: int, *, num_frames: int, causal: bool = False):
        super().__init__()
        _check_whole("channels", channels)
        _check_whole("num_frames", num_frames)
        self.channels = channels
        self.num_frames = num_frames
        self.causal = bool(causal)

    def prepare(self, x: Tensor) -> Tensor:
        """Return x (B*T, C, H, W) in autocast's type where that is on; once, where a layer is entered.

        Raises:
            ConfigError: T does not divide the batch, or x has another number of channels.
        """
        if x.shape[1] != self.channels:
            raise ConfigError(f"this layer was built for {self.channels} channels, got {tuple(x.shape)}.")
        if x.shape[0] % self.num_frames:
            raise ConfigError(
                f"a batch of {x.shape[0]} frames is not B*T for T = {self.num_frames} frames a clip: "
                "feed whole clips, or change T on purpose with teinet.set_num_frames(network, T)."
            )
        device = x.device.type
        if device != "meta" and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
            return x.to(torch.get_autocast_dtype(device))
        return x

    def extra_repr(self) -> str:
        """Return what stands in the layer's line when a network is printed."""
        return f"{self.channels}, num_frames={self.num_frames}" + (", causal" if self.causal else "")


def pool(x: Tensor) -> Tensor:
    """Return the mean over the pixels of x (N, C, H, W), as (N, C)."""
    # not x.mean: its backward writes out what it spreads over the pixels, where a sum's spreads a view
    height, width = x.shape[2:]
    if x.dtype == torch.float16:  # whose largest number a sum over an image can pass
        return (x.sum(3) / width).sum(2) / height
    return x.sum((2, 3)) / (height * width)


def linear(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Return what a 1x1 convolution makes of features (..., C), which are images of one pixel."""
    return F.linear(features, conv.weight.flatten(1), conv.bias)


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """Return x (N, C, H, W), each channel of each frame times its factor, N*C of them in that order."""
    return x * scale.to(x.dtype).reshape(*x.shape[:2], 1, 1)


def _check_whole(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")


def hidden_channels(channels: int, reduction: int) -> int:
    """Return C/r, rounded down, at least 1."""
    _check_whole("reduction", reduction)
    return max(1, channels // reduction)


def start_at_half(last: nn.Conv2d) -> None:
    """Have the convolution before a sigmoid start near zero, so that fresh gates are about one half for any input.

    As torch draws it, gates on a pretrained network's features lie anywhere from 0 to 1, another one for each frame:
    noise in each block. Zero itself would keep the convolutions before from learning at first.
    """
    nn.init.normal_(last.weight, std=0.001)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
