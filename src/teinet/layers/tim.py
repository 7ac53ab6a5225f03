"""Temporal Interaction Module (TEINet, section 3.2, Eq. 4): one 3-tap kernel per channel, slid over time.

y[c, t] = sum_{i=-1,0,1} V[c, i] * x[c, t+i],  zeros outside the clip; causal: x[c, t-1+i]
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError, nearest
from teinet.kernels import temporal_conv, temporal_step
from teinet.layers.base import TemporalLayer

INITS = ("shift", "identity")


class TIM(TemporalLayer):
    """Mix each channel with its own neighbours in time by a learned kernel, without bias.

    The parameter `weight` is (C, 1, 3, 1), the kernel of a depthwise convolution over (T, H*W); `V` is its (C, 3) view.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1.
        init: "shift" starts as TSM (the first C/8 channels take the next frame, the second C/8 the previous one);
            "identity" starts as no operation. The causal form starts with C/8 channels on the previous frame.
        causal: the kernel lies on frames t-2, t-1, t.

    Raises:
        ConfigError: another init, or a value below 1; in forward, a batch that T does not divide.

    Source: TEINet, arXiv 1911.09435, Eq. 4; the initial kernel is TDN's and ACTION-Net's.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        init: Literal["shift", "identity"] = "shift",
        causal: bool = False,
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        if init not in INITS:
            raise ConfigError(f"init {init!r} is none of {', '.join(INITS)}.{nearest(str(init), INITS)}")
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 1))
        self.reset_parameters(init)

    @property
    def V(self) -> Tensor:
        """The kernels (C, 3): V[c, 0..2] multiplies frames t-1, t, t+1; in the causal form t-2, t-1, t."""
        return self.weight.flatten(1)

    @property
    def lag(self) -> int:
        """By how many frames the kernel's middle lies behind."""
        return int(self.causal)

    @torch.no_grad()
    def reset_parameters(self, init: Literal["shift", "identity"] = "shift") -> None:
        """Set the kernels to a shift by one frame of C/8 channels each way, or to no operation.

        The causal form shifts C/8 channels one way: the other way is the future.
        """
        fold = self.channels // 8 if init == "shift" else 0
        self.weight.zero_()
        if self.causal:
            self.V[:fold, 1] = 1.0
            self.V[fold:, 2] = 1.0
            return
        self.V[:fold, 2] = 1.0
        self.V[fold : 2 * fold, 0] = 1.0
        self.V[2 * fold :, 1] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) to the same shape and memory format: Eq. 4.

        Raises:
            ConfigError: T does not divide the batch.
        """
        self.num_clips(x)
        return temporal_conv(x, self.V, num_frames=self.num_frames, lag=self.lag)

    def blank(self, x: Tensor) -> tuple[Tensor, ...]:
        """The two frames before, like x."""
        return torch.zeros_like(x), torch.zeros_like(x)

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TemporalLayer.step`."""
        return self.gated_step(x, None, past, num_frames)

    def gated_step(
        self, x: Tensor, gate: Tensor | None, past: tuple[Tensor, ...], num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`step` with each channel of each frame scaled by a gate (N*K, C) before."""
        self._must_be_causal()
        one, two = past
        if num_frames > 1:
            return self._several(x if gate is None else x * gate.to(x.dtype)[:, :, None, None], one, two, num_frames)
        y, now = temporal_step(x, self.V, gate, one, two)
        return y, (now, one)

    def _several(self, x: Tensor, one: Tensor, two: Tensor, num_frames: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames after the two before them, as one clip, of which those two are cut off again."""
        clip = x.unflatten(0, (-1, num_frames))
        clip = torch.cat([two[:, None].to(x.dtype), one[:, None].to(x.dtype), clip], 1)  # (N, K+2, C, H, W)
        frames = clip.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        y = temporal_conv(frames, self.V, num_frames=num_frames + 2, lag=self.lag).unflatten(0, (-1, num_frames + 2))
        y = y[:, 2:].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        one.copy_(clip[:, -1])
        two.copy_(clip[:, -2])
        return y, (one, two)
