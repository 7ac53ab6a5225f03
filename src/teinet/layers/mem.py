"""Motion Enhanced Module (TEINet, section 3.1, Eq. 1-3): a gate from the difference of neighbouring frames' features.

s_t = conv1(gap(x_t)) - conv2(gap(x_{t+1}))     u_t = sigmoid(conv3(s_t)) * x_t,  t = 1..T-1     u_T = x_T

Causal: the same s_t gates the later frame of the two, u_{t+1} = sigmoid(conv3(s_t)) * x_{t+1}, and u_1 = x_1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError, nearest
from teinet.kernels import Squeeze, motion_gate, motion_step, pool, temporal_conv
from teinet.layers.base import TemporalLayer, hidden_channels, start_at_half

GATES = ("paper", "residual")


class MEM(TemporalLayer):
    """Scale each channel of frames 1..T-1 by a gate that sees the motion to the next frame; frame T passes untouched.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1; T = 1 is the identity.
        reduction: r of the squeezing 1x1 convolutions, C -> C/r, at least 1.
        gate: "paper" is x * sigmoid; "residual" is x + x * (sigmoid - 0.5), the form of TEA and TDN, about 1 when
            fresh.
        causal: gate frames 2..T by the motion from the frame before; frame 1 passes untouched.

    Raises:
        ConfigError: another gate, or a value below 1; in forward, a batch that T does not divide.

    Source: TEINet, arXiv 1911.09435, Eq. 1-3 (W_theta is conv1, W_phi conv2, W_varphi conv3; all with bias).
    """

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        reduction: int = 8,
        gate: Literal["paper", "residual"] = "paper",
        causal: bool = False,
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        if gate not in GATES:
            raise ConfigError(f"gate {gate!r} is none of {', '.join(GATES)}.{nearest(str(gate), GATES)}")
        hidden = hidden_channels(channels, reduction)
        self.gate_form = gate
        # 1x1 convolutions, not linear layers: the recipe raises the rate of the head, which is the linear layer.
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(channels, hidden, 1)
        self.conv3 = nn.Conv2d(hidden, channels, 1)
        start_at_half(self.conv3)

    def gate(self, x: Tensor) -> Tensor:
        """The sigmoid of Eq. 2 of each pair of neighbouring frames of x (B*T, C, H, W), as (B, T-1, C)."""
        return self._scale(x, 0.0)[:, :-1]

    def scale(self, x: Tensor) -> Tensor:
        """What multiplies each channel of each frame of x (B*T, C, H, W), as (B, T, C): Eq. 3.

        1 for the last frame; in the causal form for the first one.
        """
        scale = self._scale(x, self.offset)
        return torch.roll(scale, 1, 1) if self.causal else scale

    @property
    def offset(self) -> float:
        """What is added to the sigmoid: x + x * (sigmoid - 0.5) in the residual form."""
        return 0.5 if self.gate_form == "residual" else 0.0

    def _scale(self, x: Tensor, offset: float) -> Tensor:
        self.num_clips(x)
        conv1, conv2, conv3 = self.conv1, self.conv2, self.conv3
        weights = Squeeze(conv1.weight, conv1.bias, conv2.weight, conv2.bias, conv3.weight, conv3.bias)
        return motion_gate(x, weights, num_frames=self.num_frames, offset=offset)

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) to the same shape and memory format: Eq. 3.

        Raises:
            ConfigError: T does not divide the batch.
        """
        if self.num_frames == 1:
            self.num_clips(x)
            return x
        return temporal_conv(x, gate=self.scale(x), num_frames=self.num_frames)

    def blank(self, x: Tensor) -> tuple[Tensor, ...]:
        """The pooled features of the frame before, (N, C)."""
        return (x.new_zeros(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32)),)

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `TemporalLayer.step`."""
        scale, pooled = self.step_scale(x, past[0], fresh, num_frames)
        return x * scale.to(x.dtype)[:, :, None, None], (pooled,)

    def step_scale(self, x: Tensor, before: Tensor, fresh: Tensor | None, num_frames: int = 1) -> tuple[Tensor, Tensor]:
        """What multiplies each channel of each frame (N*K, C), and the last one's pooled features (N, C).

        `before` are those of the frame before, (N, C), and the result of one call is the next one's `before`.
        """
        self._must_be_causal()
        conv1, conv2, conv3 = self.conv1, self.conv2, self.conv3
        weights = Squeeze(conv1.weight, conv1.bias, conv2.weight, conv2.bias, conv3.weight, conv3.bias)
        if num_frames > 1:
            clips = pool(x).to(before.dtype).unflatten(0, (-1, num_frames))
            before = torch.cat([before[:, None], clips[:, :-1]], 1).flatten(0, 1)
        scale, pooled = motion_step(x, weights, before, self.offset)
        if fresh is not None:
            scale[::num_frames].masked_fill_(fresh[:, None], 1.0)
        return scale, pooled[num_frames - 1 :: num_frames].to(before.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gate={self.gate_form!r}"
