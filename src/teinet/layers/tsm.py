"""Temporal Shift Module (Lin et al., ICCV 2019), the fixed form of TIM: TEINet, section 3.2.

y[c, t] = x[c, t+1] for c < C/n,    x[c, t-1] for C/n <= c < 2C/n,    x[c, t] for the rest;  zeros outside the clip

Causal, which its authors call online: y[c, t] = x[c, t-1] for c < C/n, x[c, t] for the rest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from teinet.errors import ConfigError
from teinet.kernels import is_channels_last
from teinet.layers.temporal_layer import TemporalLayer


class TSM(TemporalLayer):
    """Shift 1/n of the channels one frame back in time and 1/n one frame on; no parameters, no multiply-adds.

    Args:
        channels, num_frames: see `TemporalLayer`.
        n_div: n, at least 2; C/n is rounded down, so fewer than n channels stay unshifted.
        causal: shift 1/n of the channels one frame on only.

    Source: TSM, arXiv 1811.08383.
    """

    def __init__(self, channels: int, *, num_frames: int, n_div: int = 8, causal: bool = False):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        if n_div < 2:
            raise ConfigError(f"n_div must be at least 2 (two parts are shifted), got {n_div}.")
        self.fold = channels // n_div

    def forward(self, x: Tensor) -> Tensor:
        """Shift x (B*T, C, H, W); return the same shape and memory format."""
        x, frames = self.prepare(x), self.num_frames
        channels, height, width = x.shape[1:]
        # Not in place: an in-place shift overwrites what its own backward needs.
        if is_channels_last(x):
            clip = x.permute(0, 2, 3, 1).reshape(-1, frames, height * width, channels)
            return self._shift(clip, 3).reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        clip = x.reshape(-1, frames, channels, height * width)
        return self._shift(clip, 2).reshape(x.shape)

    def _shift(self, clip: Tensor, channel_dim: int) -> Tensor:
        if not clip.requires_grad and not torch.compiler.is_compiling():
            # one plain copy, then overwrite the quarter that moves: less than half the time
            y = clip.clone()
            ahead, behind, _ = self._parts(y, channel_dim)
            from_next, from_previous, _ = self._parts(clip, channel_dim)
            ahead[:, :-1], ahead[:, -1] = from_next[:, 1:], 0
            behind[:, 1:], behind[:, 0] = from_previous[:, :-1], 0
            return y
        ahead, behind, rest = self._parts(clip, channel_dim)  # writing into a copy would cost more backwards
        # not zeros_like, which an exported network would hold for one number of clips
        ahead, behind = F.pad(ahead[:, 1:], (0, 0, 0, 0, 0, 1)), F.pad(behind[:, :-1], (0, 0, 0, 0, 1, 0))
        return torch.cat([ahead, behind, rest], dim=channel_dim)

    def _parts(self, clip: Tensor, channel_dim: int) -> tuple[Tensor, ...]:
        ahead = 0 if self.causal else self.fold
        return clip.split([ahead, self.fold, self.channels - ahead - self.fold], dim=channel_dim)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, fold={self.fold}"
