"""Squeeze-and-excitation (Hu et al., CVPR 2018) in place of MEM, a gate without motion: TEINet's Table 1a."""

from __future__ import annotations

from torch import Tensor, nn

from teinet.kernels import fuses, temporal_conv
from teinet.layers.tei import TIM, Init
from teinet.layers.temporal_layer import TemporalLayer, hidden_channels, linear, pool, scaled, start_at_half


class SE(TemporalLayer):
    """Scale each channel of each frame by a gate from that frame's own pooled feature.

    Args:
        channels, num_frames: see `TemporalLayer`; T has no effect.
        reduction: r, at least 1; TEINet's paper does not give it, 8 is MEM's, for a fair comparison.

    Source: squeeze-and-excitation, arXiv 1709.01507.
    """

    def __init__(self, channels: int, *, num_frames: int, reduction: int = 8):
        super().__init__(channels, num_frames=num_frames, causal=True)  # it uses no other frame
        hidden = hidden_channels(channels, reduction)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        start_at_half(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B*T, C, H, W) to the same shape and memory format."""
        x = self.prepare(x)
        scale = self.scale(x)
        return temporal_conv(x, gate=scale, num_frames=self.num_frames) if fuses(x) else scaled(x, scale)

    def scale(self, x: Tensor) -> Tensor:
        """Return the factors (N, C) of the channels of x (N, C, H, W)."""
        return linear(self.conv2, linear(self.conv1, pool(x)).relu()).sigmoid()


class SETIM(TemporalLayer):
    """Squeeze-and-excitation on each frame, then TIM: TEI without motion.

    Args:
        channels, num_frames: see `TemporalLayer`.
        reduction, init, causal: see `SE` and `TIM`.

    Source: TEINet, arXiv 1911.09435, Table 1a.
    """

    def __init__(
        self, channels: int, *, num_frames: int, reduction: int = 8, init: Init = "shift", causal: bool = False
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        self.se = SE(channels, num_frames=num_frames, reduction=reduction)
        self.tim = TIM(channels, num_frames=num_frames, init=init, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B*T, C, H, W) to the same shape and memory format."""
        x = self.prepare(x)
        return self.tim.mix(x, self.num_frames, self.se.scale(x))
