"""Base class of the temporal layers, which checks their input, and small functions that they share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError


class TemporalLayer(nn.Module):
    """A layer that maps (B*T, C, H, W), the T frames of a clip next to each other, to the same shape.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1; `teinet.set_num_frames` changes it in a whole network.
        causal: whether a frame sees itself and earlier ones only.

    Raises:
        ConfigError: a value out of its range; in forward, another shape, or a batch that T does not divide.
    """

    def __init__(self, channels: int, *, num_frames: int, causal: bool = False):
        super().__init__()
        _check_whole("channels", channels)
        _check_whole("num_frames", num_frames)
        self.channels = channels
        self.num_frames = num_frames
        self.causal = bool(causal)

    def prepare(self, x: Tensor) -> Tensor:
        """Check the input x (B*T, C, H, W), and return it in autocast's type if autocast is on."""
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ConfigError(f"this layer takes (B*T, C, H, W) with C = {self.channels}, got {tuple(x.shape)}.")
        if x.shape[0] % self.num_frames:
            raise ConfigError(
                f"a batch of {x.shape[0]} frames is not B*T for T = {self.num_frames} frames a clip: pass whole clips "
                "as (B*T, C, H, W), or change T with teinet.set_num_frames(network, T)."
            )
        device = x.device.type
        if device != "meta" and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
            return x.to(torch.get_autocast_dtype(device))
        return x

    def extra_repr(self) -> str:
        """Return the arguments that `print(network)` shows."""
        return f"{self.channels}, num_frames={self.num_frames}" + (", causal" if self.causal else "")


def pool(x: Tensor) -> Tensor:
    """Return the mean over the pixels of x (N, C, H, W), as (N, C)."""
    # not x.mean: its backward writes out what it spreads over the pixels, where a sum's spreads a view
    height, width = x.shape[2:]
    if x.dtype == torch.float16:  # whose largest number a sum over an image can pass
        return (x.sum(3) / width).sum(2) / height
    return x.sum((2, 3)) / (height * width)


def linear(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Apply a 1x1 convolution to pooled features (..., C)."""
    return F.linear(features, conv.weight.flatten(1), conv.bias)


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """Return x (N, C, H, W), each channel of each frame times its factor; scale holds N*C in that order."""
    return x * scale.to(x.dtype).reshape(*x.shape[:2], 1, 1)


def _check_whole(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")


def hidden_channels(channels: int, reduction: int) -> int:
    """Return C/r, rounded down, at least 1."""
    _check_whole("reduction", reduction)
    return max(1, channels // reduction)


def start_at_half(last: nn.Conv2d) -> None:
    """Initialize the convolution before a sigmoid near zero, so that gates start at about one half for any input.

    With torch's default, gates on a pretrained network's features start anywhere from 0 to 1, differently for each
    frame. Exact zeros would keep the convolutions before it from learning at first.
    """
    nn.init.normal_(last.weight, std=0.001)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
