"""Squeeze-and-excitation (Hu et al., CVPR 2018) at MEM's place: the gate that sees no motion, TEINet's Table 1a."""

from __future__ import annotations

from torch import Tensor, nn

from teinet.kernels import pool, temporal_conv
from teinet.layers.base import TemporalLayer, hidden_channels, start_at_half


class SE(TemporalLayer):
    """Scale each channel of each frame by a gate from that frame's own pooled feature.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1, kept so that SE stands where MEM stands; the result does not depend on it.
        reduction: r, at least 1; the paper prints none, 8 is MEM's, so that the comparison is like for like.

    Raises:
        ConfigError: a value below 1; in forward, a batch that T does not divide.

    Source: squeeze-and-excitation, arXiv 1709.01507.
    """

    def __init__(self, channels: int, *, num_frames: int, reduction: int = 8):
        super().__init__(channels, num_frames=num_frames, causal=True)  # it looks at no other frame
        hidden = hidden_channels(channels, reduction)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        start_at_half(self.conv2)

    def scale(self, x: Tensor) -> Tensor:
        """What multiplies each channel of each frame of x (B*T, C, H, W), as (B*T, C)."""
        self.num_clips(x)
        return self._scale(x)

    def _scale(self, x: Tensor) -> Tensor:
        pooled = pool(x)[:, :, None, None]
        return self.conv2(self.conv1(pooled).relu()).sigmoid().flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) to the same shape and memory format, each frame scaled by its own gate.

        Raises:
            ConfigError: T does not divide the batch.
        """
        return temporal_conv(x, gate=self.scale(x), num_frames=self.num_frames)

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TemporalLayer.step`."""
        return x * self.step_scale(x)[:, :, None, None], ()

    def step_scale(self, x: Tensor) -> Tensor:
        """What multiplies each channel of frames of N streams (N*K, C, H, W), as (N*K, C)."""
        return self._scale(x)
