"""Pooling of a network's last feature map that keeps what changed from one frame to the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from teinet.layers.temporal_layer import TemporalLayer, pool


class MotionPool(TemporalLayer):
    """Maps feature maps (B*T, C, H, W) to features (B*T, 3C) of each frame: how it looks, and how it changed.

    The first C are the means over the pixels. The next C are the means over the pixels of |x_t - x_{t-1}|, and the last
    C the absolute differences of the first C from those of the frame before. The first frame of a clip, which has none
    before it, takes the changes of the second: a mean over the clip is then that of its T-1 changes. In the causal
    form, and where T is 1, it has no changes (0).

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1.
        causal: whether a frame sees itself and earlier ones only.
        dropout: share of the features dropped in training.
    """

    def __init__(self, channels: int, *, num_frames: int, causal: bool = False, dropout: float = 0.0):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B*T, 3C) of x (B*T, C, H, W)."""
        clips = self.prepare(x).unflatten(0, (-1, self.num_frames))  # (B, T, C, H, W)
        means = pool(x).unflatten(0, (-1, self.num_frames))  # (B, T, C)
        if self.num_frames == 1:
            changes = means.new_zeros(*means.shape[:2], 2 * self.channels)
        else:
            changes = self.change(clips[:, 1:], clips[:, :-1], means[:, 1:], means[:, :-1])
            first = torch.zeros_like(changes[:, :1]) if self.causal else changes[:, :1]
            changes = torch.cat([first, changes], 1)
        return self.dropout(torch.cat([means, changes], 2).flatten(0, 1))

    @staticmethod
    def change(here: Tensor, before: Tensor, means: Tensor, means_before: Tensor) -> Tensor:
        """Return the changes (..., 2C) from maps (..., C, H, W) and means (..., C) of the frames before."""
        return torch.cat([(here - before).abs().mean((-2, -1)), (means - means_before).abs()], -1)
