"""Bottleneck ResNets with kernels in time: I3D and its non-local form, SlowFast.

I3D: Carreira and Zisserman, arXiv 1705.07750, on ResNets as in Wang et al., "Non-local Neural Networks", arXiv
1711.07971; on Something-Something Wang and Gupta, arXiv 1806.01810. SlowFast: Feichtenhofer et al., arXiv 1812.03982.
Facts from their authors' code: facebookresearch/video-nonlocal-net, facebookresearch/SlowFast.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.systems.layout import BatchNorm3d, ClipNetwork, MaxPool3d, Triple, conv

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
Attention = Literal["softmax", "dot_product"]


class Bottleneck(nn.Module):
    """Residual branch of (k,1,1), (1,3,3) and 1x1x1 convolutions; space is halved in the second one."""

    def __init__(self, inner: int, width: int, outer: int, *, time: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(inner, width, (time, 1, 1)), BatchNorm3d(width)
        self.conv2, self.bn2 = conv(width, width, (1, 3, 3), (1, stride, stride)), BatchNorm3d(width)
        self.conv3, self.bn3 = conv(width, outer, (1, 1, 1)), BatchNorm3d(outer)
        nn.init.zeros_(self.bn3.weight)
        self.downsample = None
        if inner != outer or stride != 1:
            self.downsample = nn.Sequential(conv(inner, outer, (1, 1, 1), (1, stride, stride)), BatchNorm3d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, T, H, W) to (B, outer, T, H / stride, W / stride)."""
        out = torch.relu_(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(torch.relu_(self.bn2(self.conv2(out)))))
        return torch.relu_(out.add_(x if self.downsample is None else self.downsample(x)))


class NonLocal(nn.Module):
    """Non-local block: each position gets a weighted mean over all positions of the clip (arXiv 1711.07971, eq. 6).

    Args:
        channels: of its input; half of them inside.
        attention: "softmax" over positions of products divided by sqrt(inner), or the "dot_product" by their number.
    """

    def __init__(self, channels: int, attention: Attention):
        super().__init__()
        inner = channels // 2
        self.attention, self.pool = attention, MaxPool3d((1, 2, 2), (1, 2, 2))
        self.theta, self.phi, self.g = (conv(channels, inner, (1, 1, 1), bias=True) for _ in range(3))
        self.out, self.bn = conv(inner, channels, (1, 1, 1), bias=True), BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        pooled = self.pool(x)
        query, key, value = (each.flatten(2) for each in (self.theta(x), self.phi(pooled), self.g(pooled)))
        scores = query.transpose(1, 2) @ key
        if self.attention == "softmax":
            scores = (scores / query.shape[1] ** 0.5).softmax(dim=-1)
        else:
            scores = scores / scores.shape[-1]
        mixed = (scores @ value.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.bn(self.out(mixed))


def make_stage(
    inner: int, width: int, outer: int, times: Sequence[int], stride: int, non_local: Iterable[int] = (),
    attention: Attention = "softmax",
) -> nn.Sequential:  # fmt: skip
    """Return a stage of one block for each kernel length in `times`, and non-local blocks behind some."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for i, time in enumerate(times):
        blocks[str(i)] = Bottleneck(inner if i == 0 else outer, width, outer, time=time, stride=stride if i == 0 else 1)
        if i in non_local:
            blocks[f"{i}_nl"] = NonLocal(outer, attention)
    return nn.Sequential(blocks)


class I3DResNet(ClipNetwork):
    """I3D on a ResNet; kernels of 3 frames begin every block of stage 2, and every second one of the others.

    Three networks have this name: of the non-local paper, of SlowFast's code and of Wang and Gupta. They differ in:

    Args:
        stem_time: stride in time of the stem's convolution.
        pool: kernel, stride and padding of the pool behind it.
        last_stride: spatial stride of the last stage.
        depth: 50 or 101.
        non_local: blocks of stages 3 and 4 with a non-local block behind them.
        window: see `ClipNetwork`.
        num_classes, dropout: of the head: mean over time and space, dropout, linear.
    """

    def __init__(
        self,
        *,
        stem_time: int = 1,
        pool: tuple[Triple, Triple, Triple] = ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        last_stride: int = 2,
        depth: int = 50,
        non_local: Mapping[int, Sequence[int]] | None = None,
        window: int | None = None,
        num_classes: int,
        num_frames: int,
        dropout: float,
    ):
        super().__init__(num_frames)
        self.window = window
        self.conv1, self.bn1 = conv(3, 64, (5, 7, 7), (stem_time, 2, 2)), BatchNorm3d(64)
        self.pool1, self.pool2 = MaxPool3d(*pool), MaxPool3d((2, 1, 1), (2, 1, 1))
        depths, at = DEPTHS[depth], non_local or {}
        even = [[3 if i % 2 == 0 else 1 for i in range(depth)] for depth in depths]
        times = [[3] * depths[0], even[1], even[2], [1, 3, 1]]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            make_stage(inner, width, 4 * width, kernels, stride, at.get(stage, ()))
            for stage, inner, width, kernels, stride in zip(
                range(2, 6), (64, 256, 512, 1024), (64, 128, 256, 512), times, (1, 2, 2, last_stride)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Linear(2048, num_classes)

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 2048, T', H', W')."""
        x = self.pool1(torch.relu_(self.bn1(self.conv1(clips))))
        x = self.layer2(self.pool2(self.layer1(x)))
        return self.layer4(self.layer3(x))


class SlowFast(ClipNetwork):
    """Two ResNets: a slow one on few frames, and a fast one on all frames with an eighth of the channels.

    The fast path's features join the slow path's channels behind the stem and stages 2 to 4.

    Args:
        alpha: frames of the fast path for each one of the slow path.
        lateral: length of the kernels of the lateral connections.
        depth: 50 or 101.
        temporal: how many blocks of stage 4 have kernels in time (6 in R101_50_50); None for all.
        non_local: as in `I3DResNet`, of the slow path.
        num_frames: of the fast path; the slow path takes T / alpha of them, spread from the first to the last.
        window, num_classes, dropout: as in `I3DResNet`.
    """

    def __init__(
        self,
        *,
        alpha: int,
        lateral: int = 5,
        depth: int = 50,
        temporal: int | None = None,
        non_local: Mapping[int, Sequence[int]] | None = None,
        window: int | None = None,
        num_classes: int,
        num_frames: int,
        dropout: float,
    ):
        super().__init__(num_frames)
        self.alpha, self.window, depths = alpha, window, DEPTHS[depth]
        self.slow, self.fast, self.lateral = (nn.ModuleDict() for _ in range(3))
        for path, channels, time in ((self.slow, 64, 1), (self.fast, 8, 5)):
            path["conv1"], path["bn1"] = conv(3, channels, (time, 7, 7), (1, 2, 2)), BatchNorm3d(channels)
        self.pool = MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        slow, fast = 64, 8
        for i, blocks in enumerate(depths):
            self.lateral[f"stage{i + 1}"] = nn.Sequential(
                conv(fast, 2 * fast, (lateral, 1, 1), (alpha, 1, 1)), BatchNorm3d(2 * fast), nn.ReLU(True)
            )
            width, stride = 64 * 2**i, 1 if i == 0 else 2
            long = blocks if i != 2 or temporal is None else temporal
            kernels = {
                path: [time] * long + [1] * (blocks - long) for path, time in (("slow", 1 + 2 * (i > 1)), ("fast", 3))
            }
            at = (non_local or {}).get(i + 2, ())
            self.slow[f"layer{i + 1}"] = make_stage(
                slow + 2 * fast, width, 4 * width, kernels["slow"], stride, at, "dot_product"
            )
            self.fast[f"layer{i + 1}"] = make_stage(fast, width // 8, width // 2, kernels["fast"], stride)
            slow, fast = 4 * width, width // 2
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(slow + fast, num_classes)

    def classify(self, clips: Tensor) -> Tensor:
        """Return logits; see `ClipNetwork`."""
        frames = clips.shape[2]
        if frames % self.alpha:
            raise ConfigError(f"SlowFast takes a multiple of {self.alpha} frames, got {frames}.")
        chosen = torch.linspace(0, frames - 1, frames // self.alpha, device=clips.device).long()
        slow, fast = self._stem("slow", clips[:, :, chosen]), self._stem("fast", clips)
        for i in range(1, 5):
            slow = torch.cat([slow, self.lateral[f"stage{i}"](fast)], dim=1)
            slow, fast = self.slow[f"layer{i}"](slow), self.fast[f"layer{i}"](fast)
        return self.answer_of_means(torch.cat([x.mean(dim=2) for x in (slow, fast)], dim=1))

    def _stem(self, path: str, clips: Tensor) -> Tensor:
        layers = getattr(self, path)
        return self.pool(torch.relu_(layers["bn1"](layers["conv1"](clips))))
