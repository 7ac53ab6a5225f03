"""Bottlenecks with (1,3,3) and (3,1,1) kernels: P3D and LGD-3D.

P3D: Qiu et al., arXiv 1711.10305, after the authors' own network (ZhaofanQiu/pseudo-3d-residual-networks); the port to
PyTorch that is in use computes another function with the same weights. LGD: Qiu et al., arXiv 1906.05571, from the
paper's description, as its code was never published: not exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Literal

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.systems.layout import BatchNorm3d, ClipNetwork, MaxPool3d, conv, to_clips, to_frames

Form = Literal["A", "B", "C"]
DEPTHS = {63: (3, 4, 6, 3), 199: (3, 8, 36, 3)}


class P3DBottleneck(nn.Module):
    """1x1x1, then S = (1,3,3) and T = (3,1,1), then 1x1x1; space is halved in the first one.

    Args:
        form: "A": T behind S; "B": both next to each other; "C": half of S, and half of T behind S.
    """

    def __init__(self, inner: int, width: int, *, form: Form, stride: int):
        super().__init__()
        self.form, outer, strides = form, 4 * width, (1, stride, stride)
        self.conv1, self.bn1 = conv(inner, width, (1, 1, 1), strides), BatchNorm3d(width)
        self.conv2, self.bn2 = conv(width, width, (1, 3, 3)), BatchNorm3d(width)
        self.conv3, self.bn3 = conv(width, width, (3, 1, 1)), BatchNorm3d(width)
        self.conv4, self.bn4 = conv(width, outer, (1, 1, 1)), BatchNorm3d(outer)
        self.downsample = None
        if inner != outer or stride != 1:
            self.downsample = nn.Sequential(conv(inner, outer, (1, 1, 1), strides), BatchNorm3d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, T, H, W) to (B, 4 * width, T, H / stride, W / stride)."""
        return torch.relu_(self.branch(x) + (x if self.downsample is None else self.downsample(x)))

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch's output."""
        x = torch.relu_(self.bn1(self.conv1(x)))
        space = torch.relu_(self.bn2(self.conv2(x)))
        time = self.bn3(self.conv3(x if self.form == "B" else space))
        if self.form != "A":
            time = (space + time) * (0.5 if self.form == "C" else 1.0)
        return self.bn4(self.conv4(torch.relu_(time)))


class Bottleneck2d(nn.Module):
    """The 2-D bottleneck of P3D's last stage, under its port's keys; space is halved in the first convolution."""

    def __init__(self, inner: int, width: int, *, stride: int):
        super().__init__()
        outer = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inner, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        self.conv_normal, self.bn_normal = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.conv4, self.bn4 = nn.Conv2d(width, outer, 1, bias=False), nn.BatchNorm2d(outer)
        self.downsample = None
        if inner != outer:
            self.downsample = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inner, H, W) to (N, 4 * width, H / stride, W / stride)."""
        out = torch.relu_(self.bn_normal(self.conv_normal(torch.relu_(self.bn1(self.conv1(x))))))
        return torch.relu_(self.bn4(self.conv4(out)) + (x if self.downsample is None else self.downsample(x)))


class P3D(ClipNetwork):
    """P3D of 63 or 199 layers; the forms A, B and C alternate. Time is halved four times.

    Args:
        num_frames: 16; a multiple of it gives several last feature maps, whose logits are averaged.
    """

    def __init__(self, *, depth: int, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        self.conv1_custom, self.bn1 = conv(3, 64, (1, 7, 7), (1, 2, 2)), BatchNorm3d(64)
        self.pool1, self.pool2 = MaxPool3d((2, 3, 3), 2, 0, ceil_mode=True), MaxPool3d((2, 1, 1), (2, 1, 1))
        forms: Iterator[Form] = cycle(("A", "B", "C"))
        inner, stages = 64, [nn.Sequential() for _ in range(3)]
        for i, (stage, blocks) in enumerate(zip(stages, DEPTHS[depth])):
            for j in range(blocks):
                stage.append(P3DBottleneck(inner, 64 * 2**i, form=next(forms), stride=2 if i and not j else 1))
                inner = 256 * 2**i
        self.layer1, self.layer2, self.layer3 = stages
        self.layer4 = nn.Sequential()
        for j in range(DEPTHS[depth][3]):
            self.layer4.append(Bottleneck2d(inner, 512, stride=1 if j else 2))
            inner = 2048
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(2048, num_classes)

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 2048, T/16, H/32, W/32)."""
        if clips.shape[2] % 16:
            raise ConfigError(f"P3D takes a multiple of 16 frames, got {clips.shape[2]}.")
        x = self.pool1(torch.relu_(self.bn1(self.conv1_custom(clips))))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = self.pool2(stage(x))
        return to_clips(self.layer4(to_frames(x)), len(x))


class Diffusion(nn.Module):
    """A block of LGD: local features in space and time, and one global vector, each of which informs the other.

    Args:
        inner, width: channels of its input, and inside its local unit; 4 * width at its output.
    """

    def __init__(self, inner: int, width: int, *, stride: int):
        super().__init__()
        outer = 4 * width
        rank = outer // 16
        self.local = P3DBottleneck(inner, width, form="A", stride=stride)
        self.to_local, self.keep = (_thin(inner, rank, outer) for _ in range(2))
        self.to_global = _thin(outer, rank, outer)

    def forward(self, x: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inner, T, H, W) and (B, inner) to the same of 4 * width channels."""
        shortcut = x if self.local.downsample is None else self.local.downsample(x)
        x = torch.relu_(self.local.branch(x) + shortcut + self.to_local(whole)[:, :, None, None, None])
        return x, torch.relu(self.to_global(x.mean(dim=(2, 3, 4))) + self.keep(whole))


def _thin(inner: int, rank: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inner, rank, bias=False), nn.Linear(rank, outer, bias=False))


class LGD(ClipNetwork):
    """LGD-3D on a ResNet, from the paper's description: not exact.

    The paper's classifier of local and global features is a kernel method; here one linear layer takes their sum.

    Args:
        depths: blocks of the four stages.
    """

    def __init__(self, *, depths: tuple[int, ...], num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        self.conv1, self.bn1 = conv(3, 64, (1, 7, 7), (1, 2, 2)), BatchNorm3d(64)
        self.pool = MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.blocks, inner = nn.ModuleList(), 64
        for i, depth in enumerate(depths):
            for j in range(depth):
                self.blocks.append(Diffusion(inner, 64 * 2**i, stride=2 if i and not j else 1))
                inner = 256 * 2**i
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(2048, num_classes)

    def classify(self, clips: Tensor) -> Tensor:
        """Return logits; see `ClipNetwork`."""
        x = self.pool(torch.relu_(self.bn1(self.conv1(clips))))
        whole = x.mean(dim=(2, 3, 4))
        for block in self.blocks:
            x, whole = block(x, whole)
        return self.fc(self.dropout(x.mean(dim=(2, 3, 4)) + whole))
