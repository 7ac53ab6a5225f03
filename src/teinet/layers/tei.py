"""The TEI module (TEINet, section 3.3, Figure 1): MEM, then TIM. And Table 1a's SE+TIM, with SE in MEM's place."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from teinet.kernels import temporal_conv
from teinet.layers.base import TemporalLayer
from teinet.layers.mem import MEM
from teinet.layers.se import SE
from teinet.layers.tim import TIM


class TEI(TemporalLayer):
    """Enhance motion-sensitive channels, then let neighbouring frames interact.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1.
        reduction, gate: MEM's.
        init: TIM's.
        causal: whether a frame sees itself and earlier ones only, in both.

    Raises:
        ConfigError: another gate or init, or a value below 1; in forward, a batch that T does not divide.

    Source: TEINet, arXiv 1911.09435, section 3.3.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        reduction: int = 8,
        gate: Literal["paper", "residual"] = "paper",
        init: Literal["shift", "identity"] = "shift",
        causal: bool = False,
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        self.mem = MEM(channels, num_frames=num_frames, reduction=reduction, gate=gate, causal=causal)
        self.tim = TIM(channels, num_frames=num_frames, init=init, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) to the same shape and memory format: MEM, then TIM.

        Raises:
            ConfigError: T does not divide the batch.
        """
        if self.num_frames == 1:
            return self.tim(x)
        return temporal_conv(x, self.tim.V, self.mem.scale(x), num_frames=self.num_frames, lag=self.tim.lag)

    def blank(self, x: Tensor) -> tuple[Tensor, ...]:
        """MEM's and TIM's: the pooled features of the frame before, and the two gated frames before."""
        return *self.mem.blank(x), *self.tim.blank(x)

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TemporalLayer.step`."""
        scale, pooled = self.mem.step_scale(x, past[0], fresh, num_frames)
        y, frames = self.tim.gated_step(x, scale, past[1:], num_frames)
        return y, (pooled, *frames)


class SETIM(TemporalLayer):
    """Squeeze-and-excitation on each frame, then TIM: what remains of TEI without motion.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1.
        reduction: SE's.
        init, causal: TIM's.

    Raises:
        ConfigError: another init, or a value below 1; in forward, a batch that T does not divide.

    Source: TEINet, arXiv 1911.09435, Table 1a.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        reduction: int = 8,
        init: Literal["shift", "identity"] = "shift",
        causal: bool = False,
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        self.se = SE(channels, num_frames=num_frames, reduction=reduction)
        self.tim = TIM(channels, num_frames=num_frames, init=init, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) to the same shape and memory format: SE, then TIM.

        Raises:
            ConfigError: T does not divide the batch.
        """
        return temporal_conv(x, self.tim.V, self.se.scale(x), num_frames=self.num_frames, lag=self.tim.lag)

    def blank(self, x: Tensor) -> tuple[Tensor, ...]:
        """TIM's: the two gated frames before."""
        return self.tim.blank(x)

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TemporalLayer.step`."""
        return self.tim.gated_step(x, self.se.step_scale(x), past, num_frames)
