"""One answer for a clip from a network's features of its frames: in order, by TRN's relations, StNet's Xception."""

from __future__ import annotations

from collections import OrderedDict
from itertools import combinations
from math import comb
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError

Consensus = Literal["average", "motion", "temporal", "difference", "temporal_difference", "relation", "xception"]
Subsets = int | Literal["first", "all"]
RELATION_WIDTH = 256  # of a frame's features in TRN
PARTS = 4  # of a clip, where a head sees its order
_XCEPTION_WIDTH = 1024


class TemporalHead(nn.Module):
    """A linear classifier of a clip's features in their order: the means over each part of its frames.

    Args:
        features: D, of each frame.
        num_classes: of the logits.
        parts: of a clip, in time; 1 knows no order, and its logits are the mean of frames' logits.
        dropout: share of the features dropped in training.
    """

    def __init__(self, features: int, num_classes: int, *, parts: int = PARTS, dropout: float = 0.0):
        super().__init__()
        self.parts = parts
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(parts * features, num_classes)

    @property
    def whole_clip(self) -> bool:
        """True if no answer can be given before the last frame."""
        return self.parts > 1

    def forward(self, features: Tensor) -> Tensor:
        """Map features of frames (B, T, D) to logits (B, classes)."""
        return self.fc(self.dropout(in_parts(features, self.parts)))


def in_parts(features: Tensor, parts: int = PARTS) -> Tensor:
    """Return the means over each part of the frames, (B, parts*D), of features (B, T, D); T need be no multiple."""
    if parts == 1:  # adaptive pooling to 1 is exported with the number of clips
        return features.mean(1)
    return F.adaptive_avg_pool1d(features.transpose(1, 2), parts).transpose(1, 2).flatten(1)


def frame_differences(clips: Tensor, mean: Tensor, std: Tensor, first: Tensor) -> Tensor:
    """Return TSN's RGB differences x_t - x_{t-1} on gray, (B, T, C, H, W) normalized, of clips like these.

    Larger differences are clamped to black and white. Source: Wang et al., arXiv 1608.00859, section 3.2.

    Args:
        clips: normalized pixels.
        mean, std: per channel, (1, C, 1, 1), on the scale 0 to 1.
        first: the difference of the first frame, (B, 1, C, H, W), which has none before it; 0 gives gray.
    """
    changes = torch.cat([first, clips[:, 1:] - clips[:, :-1]], 1)
    return ((changes * std + 0.5).clamp(0, 1) - mean) / std


class Relation(nn.Module):
    """TRN's relations between frames, on several time scales: Zhou et al., arXiv 1711.08496.

    For each scale k = T, T-1, ..., 2, a small network sees the features of k ordered frames. Scores are summed over
    scales and subsets of frames, of which the authors' code (metalbubble/TRN-pytorch) draws three at random.

    Args:
        num_frames: T, at least 2; it cannot be changed afterwards.
        num_classes: of the scores.
        features: of each frame.
        subsets: number of subsets of each scale, drawn again in each step of training and once for evaluation, so that
            a test can be repeated; the "first" three; or "all", whose mean counts as three.
    """

    whole_clip = True  # no answer can be given before the last frame

    def __init__(self, num_frames: int, num_classes: int, *, features: int = RELATION_WIDTH, subsets: Subsets = 3):
        super().__init__()
        if num_frames < 2:
            raise ConfigError(f"relations between frames need at least 2 of them, got {num_frames}.")
        if subsets not in ("first", "all") and not (isinstance(subsets, int) and subsets >= 1):
            raise ConfigError(f"subsets must be a number of at least 1, first or all, got {subsets!r}.")
        self._frames, self.subsets = num_frames, subsets
        self._count = subsets if isinstance(subsets, int) else 3
        self.scales = range(num_frames, 1, -1)
        self.fc_fusion_scales = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(k * features, 256), nn.ReLU(), nn.Linear(256, num_classes))
            for k in self.scales
        )

    @property
    def num_frames(self) -> int:
        """T; setting another one is a ConfigError."""
        return self._frames

    @num_frames.setter
    def num_frames(self, number: int) -> None:
        if number != self._frames:
            raise ConfigError(f"relations between {self._frames} frames cannot take {number}; train a new network.")

    def forward(self, features: Tensor) -> Tensor:
        """Map features of frames (B, T, D) to scores (B, classes)."""
        generator = None if self.training else torch.Generator("cpu").manual_seed(0)
        total = features.new_zeros(())
        for k, net in zip(self.scales, self.fc_fusion_scales):
            chosen = self._choose(k, generator)
            scores = net(features[:, chosen].flatten(2))  # (B, subsets, classes)
            total = total + scores.mean(dim=1) * min(self._count, comb(self._frames, k))
        return total

    def _choose(self, k: int, generator: torch.Generator | None) -> list[tuple[int, ...]]:
        every = list(combinations(range(self._frames), k))
        if isinstance(self.subsets, int):
            return [every[i] for i in torch.randperm(len(every), generator=generator, device="cpu")[: self._count]]
        return every[: self._count] if self.subsets == "first" else every


class TemporalXception(nn.Module):
    """StNet's separable convolutions over time: He et al., arXiv 1811.01549, section 3.3.

    Args:
        channels: C, of the features of each frame, or of each of StNet's segments.
    """

    whole_clip = True

    def __init__(self, channels: int):
        super().__init__()
        inner = _XCEPTION_WIDTH
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(channels), nn.BatchNorm1d(inner), nn.BatchNorm1d(inner)
        self.depthwise1 = nn.Conv1d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise1 = nn.Conv1d(channels, inner, 1)
        self.depthwise2 = nn.Conv1d(inner, inner, 3, padding=1, groups=inner)
        self.pointwise2 = nn.Conv1d(inner, inner, 1)
        self.shortcut = nn.Conv1d(channels, inner, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, C) to the largest values over time, (B, 1024)."""
        x = self.bn1(features.transpose(1, 2))
        out = torch.relu_(self.bn2(self.pointwise1(self.depthwise1(x))))
        out = self.pointwise2(self.depthwise2(out)) + self.shortcut(x)
        return torch.relu_(self.bn3(out)).amax(dim=2)


def xception_head(channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Return StNet's end of a network: (B, T, C) to logits (B, classes), with keys of its parts as in StNet."""
    parts = {"xception": TemporalXception(channels), "dropout": nn.Dropout(dropout)}
    return nn.Sequential(OrderedDict({**parts, "fc": nn.Linear(_XCEPTION_WIDTH, num_classes)}))
