"""The modules of the paper (TEINet, arXiv 1911.09435, section 3): MEM, TIM, and TEI, which is MEM and then TIM.

x is (B*T, C, H, W), the T frames of a clip next to each other; x_t is frame t of a clip. The equations stand in plain
torch; an early return above them calls a fused kernel for the same.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError, nearest
from teinet.kernels import Squeeze, fuses, fuses_tei, is_channels_last, tei, temporal_conv
from teinet.layers.temporal_layer import TemporalLayer, hidden_channels, linear, pool, scaled, start_at_half

Gate = Literal["paper", "residual"]
Init = Literal["shift", "identity"]


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = nearest(str(value), choices)
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.{hint}")


class MEM(TemporalLayer):
    """Motion Enhanced Module (section 3.1): scale each channel of frames 1..T-1 by what changes until the next frame.

        s_t = conv1(gap(x_t)) - conv2(gap(x_{t+1}))
        u_t = sigmoid(conv3(s_t)) x_t,  t = 1..T-1      u_T = x_T

    Args:
        channels, num_frames: see `TemporalLayer`; T = 1 is the identity.
        reduction: r of the squeezing 1x1 convolutions, C -> C/r, at least 1.
        gate: "paper" is x * sigmoid; "residual" is x + x * (sigmoid - 0.5), as in TEA and TDN, about x at first.
        causal: the same s_t gates the later frame of the two, u_{t+1}; frame 1 is unchanged.

    Source: Eq. 1-3 (W_theta is conv1, W_phi conv2, W_varphi conv3; all with bias).
    """

    def __init__(
        self, channels: int, *, num_frames: int, reduction: int = 8, gate: Gate = "paper", causal: bool = False
    ):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        _check_choice("gate", gate, get_args(Gate))
        hidden = hidden_channels(channels, reduction)
        self.gate_form = gate
        # 1x1 convolutions, not linear layers: the recipe raises the rate of the head, which is the linear layer.
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(channels, hidden, 1)
        self.conv3 = nn.Conv2d(hidden, channels, 1)
        start_at_half(self.conv3)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B*T, C, H, W) to the same shape and memory format."""
        x = self.prepare(x)
        if self.num_frames == 1:
            return x
        if fuses_tei(x, weights := self.weights):
            return tei(x, weights, num_frames=self.num_frames, causal=self.causal, offset=self.offset)
        scale = self.scale(x)  # (B, T, C)
        if fuses(x):
            return temporal_conv(x, gate=scale, num_frames=self.num_frames)
        return scaled(x, scale)  # Eq. 3: u_t

    def scale(self, x: Tensor) -> Tensor:
        """Return the factors (B, T, C) of the channels of x (B*T, C, H, W); T is at least 2."""
        pooled = pool(x).unflatten(0, (-1, self.num_frames))  # gap(x_t): (B, T, C)
        scale = self.gate(pooled[:, :-1], pooled[:, 1:])  # (B, T-1, C)
        scale = F.pad(scale, (0, 0, 0, 1), value=1.0)  # (B, T, C): the last frame has no next one
        return scale.roll(1, 1) if self.causal else scale

    def gate(self, this: Tensor, following: Tensor) -> Tensor:
        """Return the factors (..., C) for pairs of neighboring frames, from the pooled features (..., C) of both."""
        s = linear(self.conv1, this) - linear(self.conv2, following)  # Eq. 1: (..., C/r)
        gate = linear(self.conv3, s).sigmoid()  # Eq. 2: (..., C)
        return gate + self.offset if self.offset else gate

    @property
    def offset(self) -> float:
        """The constant added to the sigmoid: x + x * (sigmoid - 0.5) is x * (sigmoid + 0.5)."""
        return 0.5 if self.gate_form == "residual" else 0.0

    @property
    def weights(self) -> Squeeze:
        """The convolutions' weights and biases, as the kernels take them."""
        conv1, conv2, conv3 = self.conv1, self.conv2, self.conv3
        assert conv1.bias is not None and conv2.bias is not None and conv3.bias is not None
        return Squeeze(conv1.weight, conv1.bias, conv2.weight, conv2.bias, conv3.weight, conv3.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gate={self.gate_form!r}"


class TIM(TemporalLayer):
    """Temporal Interaction Module (section 3.2): mix each channel with its own neighbors in time, by a learned kernel.

        y_t[c] = V[c, -1] x_{t-1}[c] + V[c, 0] x_t[c] + V[c, 1] x_{t+1}[c],     zeros outside the clip, no bias

    The parameter `weight` is (C, 1, 3, 1), the kernel of a depthwise convolution over (T, H*W); `V` is its (C, 3) view.

    Args:
        channels, num_frames: see `TemporalLayer`.
        init: "shift" starts as TSM (the first C/8 channels take the next frame, the second C/8 the previous one);
            "identity" starts as no operation. The causal form starts with C/8 channels on the previous frame.
        causal: the kernel lies on frames t-2, t-1, t.

    Source: Eq. 4; the initial kernel is TDN's and ACTION-Net's.
    """

    def __init__(self, channels: int, *, num_frames: int, init: Init = "shift", causal: bool = False):
        super().__init__(channels, num_frames=num_frames, causal=causal)
        _check_choice("init", init, get_args(Init))
        self.weight = nn.Parameter(torch.zeros(channels, 1, 3, 1))
        part = channels // 8 if init == "shift" else 0
        with torch.no_grad():
            if causal:  # the other way is the future
                self.V[:part, 1] = 1.0
                self.V[part:, 2] = 1.0
            else:
                self.V[:part, 2] = 1.0
                self.V[part : 2 * part, 0] = 1.0
                self.V[2 * part :, 1] = 1.0

    @property
    def V(self) -> Tensor:
        """The kernels (C, 3): V[c, 0..2] multiplies frames t-1, t, t+1; in the causal form t-2, t-1, t."""
        return self.weight.flatten(1)

    @property
    def lag(self) -> int:
        """The number of frames from the kernel's middle to t: 0, or 1 in the causal form."""
        return int(self.causal)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B*T, C, H, W) to the same shape and memory format."""
        return self.mix(self.prepare(x), self.num_frames)

    def mix(self, x: Tensor, num_frames: int, scale: Tensor | None = None) -> Tensor:
        """Apply Eq. 4 to clips of `num_frames` frames; `scale` (B*T*C numbers) multiplies x first, Eq. 3."""
        if fuses(x):  # both in one pass over memory
            return temporal_conv(x, self.V, scale, num_frames=num_frames, lag=self.lag)
        x = x if scale is None else scaled(x, scale)
        # Time becomes the height of an image that is H*W wide, so that Eq. 4 is a (3, 1) depthwise convolution; in
        # channels-last memory every reshape here is a view. For the lag, one more frame is padded before, cut after.
        layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        clip = x.unflatten(0, (-1, num_frames)).transpose(1, 2).flatten(3)  # (B, C, T, H*W)
        y = F.conv2d(clip, self.weight, padding=(1 + self.lag, 0), groups=self.channels)[:, :, :num_frames]  # Eq. 4
        y = y.contiguous(memory_format=layout).unflatten(3, x.shape[2:])  # (B, C, T, H, W)
        return y.transpose(1, 2).flatten(0, 1).contiguous(memory_format=layout)  # (B*T, C, H, W)


class TEI(TemporalLayer):
    """Temporal Enhancement-and-Interaction (section 3.3, Figure 1): MEM, then TIM.

    Args:
        channels, num_frames, causal: see `TemporalLayer`.
        reduction, gate, init: see `MEM` and `TIM`.
    """

    def __init__(
        self,
        channels: int, *, num_frames: int, reduction: int = 8, gate: Gate = "paper", init: Init = "shift",
        causal: bool = False,
    ):  # fmt: skip
        super().__init__(channels, num_frames=num_frames, causal=causal)
        self.mem = MEM(channels, num_frames=num_frames, reduction=reduction, gate=gate, causal=causal)
        self.tim = TIM(channels, num_frames=num_frames, init=init, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B*T, C, H, W) to the same shape and memory format."""
        x = self.prepare(x)
        mem, tim, t = self.mem, self.tim, self.num_frames
        if t > 1 and fuses_tei(x, weights := mem.weights) and tim.weight.dtype == weights.w1.dtype:
            return tei(x, weights, tim.V, num_frames=t, causal=self.causal, offset=mem.offset)
        return tim.mix(x, t, mem.scale(x) if t > 1 else None)
