"""Inception-v1 in time: I3D and S3D, with S3D's gates.

I3D: Carreira and Zisserman, arXiv 1705.07750 (deepmind/kinetics-i3d). S3D, S3D-G: Xie et al., arXiv 1712.04851, as
torchvision has S3D (kylemin/S3D), whose weights fit; no public code gives the parameters that the paper names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import s3d

from teinet.models.systems.layout import BatchNorm3d, ClipNetwork, Conv3d, MaxPool3d, Triple, in_2d

# Widths of a Mixed block: 1x1; 1x1 and 3x3x3; 1x1 and 3x3x3; 1x1 behind a pool.
_MIXED = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


def pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Pad (B, C, T, H, W) with zeros as TensorFlow's SAME: to ceil(size / stride) outputs, more of it at the end."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1]):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


class Unit(nn.Module):
    """A convolution with SAME padding, its norm and ReLU."""

    def __init__(self, inner: int, outer: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv3d = Conv3d(inner, outer, kernel, stride, bias=False)
        self.bn = BatchNorm3d(outer, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, T, H, W) to (B, outer, T', H', W')."""
        x = pad_same(x, self.conv3d.kernel_size, self.conv3d.stride)  # pyright: ignore[reportArgumentType]
        return torch.relu_(self.bn(self.conv3d(x)))


class Mixed(nn.Module):
    """Four branches of one size, joined."""

    def __init__(self, inner: int, widths: tuple[int, tuple[int, int], tuple[int, int], int]):
        super().__init__()
        one, (reduce1, three1), (reduce2, three2), pool = widths
        self.b0 = Unit(inner, one)
        self.b1a, self.b1b = Unit(inner, reduce1), Unit(reduce1, three1, 3)
        self.b2a, self.b2b = Unit(inner, reduce2), Unit(reduce2, three2, 3)
        self.b3b, self.pool = Unit(inner, pool), MaxPool3d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, T, H, W) to (B, C, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.pool(x))], dim=1)


class I3DInception(ClipNetwork):
    """I3D on Inception-v1, with the padding of its authors' TensorFlow code and the keys of piergiaj/pytorch-i3d."""

    def __init__(self, *, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit(64, 64), Unit(64, 192, 3)
        inner = 192
        for name, widths in _MIXED.items():
            self.add_module(f"Mixed_{name}", Mixed(inner, widths))
            inner = widths[0] + widths[1][1] + widths[2][1] + widths[3]
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(inner, num_classes)

    def answer(self, features: Tensor) -> Tensor:
        """Return the mean of the logits of `windows`."""
        return self.logits(self.dropout(windows(features).transpose(1, 2))).mean(dim=1)

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 1024, T/8, H/32, W/32)."""
        x = _pool(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in _MIXED:
            if name in ("4b", "5b"):
                x = _pool(x, *(((3, 3, 3), (2, 2, 2)) if name == "4b" else ((2, 2, 2), (2, 2, 2))))
            x = self.get_submodule(f"Mixed_{name}")(x)
        return x

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.logits


def windows(features: Tensor) -> Tensor:
    """Return means over space and windows of two times, (B, C, T' - 1)."""
    x = features.mean(dim=(3, 4))
    return F.avg_pool1d(x, min(2, x.shape[2]), 1)


def _pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    return MaxPool3d(kernel, stride)(pad_same(x, kernel, stride))  # behind a ReLU, zeros are the smallest values


class Gate(nn.Module):
    """S3D-G's gate: channels times the sigmoid of a linear layer of their means."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return x * self.fc(x.mean(dim=(2, 3, 4))).sigmoid()[:, :, None, None, None]


class S3D(ClipNetwork):
    """torchvision's S3D; `gated` puts a gate behind the stem and each branch of the Mixed blocks."""

    def __init__(self, *, gated: bool, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        net = in_2d(s3d(num_classes=num_classes, dropout=dropout))
        self.features, self.classifier = net.features, net.classifier
        if gated:
            self.features[3].append(Gate(192))  # pyright: ignore[reportCallIssue]: a Sequential
            for mixed in (block for block in self.features if hasattr(block, "branch3")):
                for branch in mixed.children():
                    branch.append(Gate(_width(branch)))  # pyright: ignore[reportCallIssue]

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 1024, T/8, H/32, W/32)."""
        return self.features(clips)

    def answer(self, features: Tensor) -> Tensor:
        """Return the mean of the logits of `windows`."""
        return self.classifier(windows(features)[..., None, None]).mean(dim=(2, 3, 4))

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.classifier[1]


def _width(branch: nn.Module) -> int:
    return [m for m in branch.modules() if isinstance(m, nn.BatchNorm3d)][-1].num_features
