"""StNet: He et al., arXiv 1811.01549, after its authors' company's code (PaddlePaddle/models)."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.consensus import xception_head
from teinet.models.systems.layout import ClipNetwork, Conv3d, to_clips, to_frames

STACKED = 5  # frames that follow each other, whose channels are stacked


class TimeBlock(nn.Module):
    """A convolution of 3 segments, ReLU, then a norm; added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.bn = Conv3d(channels, channels, (3, 1, 1), 1, (1, 0, 0)), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return x + self.bn(torch.relu_(self.conv(x)))


class StNet(ClipNetwork):
    """StNet on a ResNet of timm: stacked frames, two blocks over time, and an Xception block over time at the end.

    Args:
        backbone: timm's name of a ResNet.
        num_frames: a multiple of 5: segments of five frames that follow each other.
    """

    def __init__(self, *, backbone: str, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        net: Any = timm.create_model(backbone, pretrained=False, in_chans=3 * STACKED, num_classes=0)
        self.conv1, self.bn1, self.maxpool = net.conv1, net.bn1, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        wide = net.num_features
        self.time2, self.time3 = TimeBlock(wide // 4), TimeBlock(wide // 2)
        self.xception, self.dropout, self.fc = xception_head(wide, num_classes, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits (B, classes) of frames (B*T, 3, H, W)."""
        if self.num_frames % STACKED:
            raise ConfigError(f"StNet takes a multiple of {STACKED} frames, got {self.num_frames}.")
        clips = len(frames) // self.num_frames
        x = frames.unflatten(0, (-1, STACKED)).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        x = self.layer2(self.layer1(self.maxpool(torch.relu_(self.bn1(self.conv1(x))))))
        x = self.layer3(to_frames(self.time2(to_clips(x, clips))))
        x = self.layer4(to_frames(self.time3(to_clips(x, clips))))
        return self.fc(self.dropout(self.xception(x.mean(dim=(2, 3)).unflatten(0, (clips, -1)))))
