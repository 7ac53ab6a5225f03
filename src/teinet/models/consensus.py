"""One answer for a clip from a network's answers for frames: TRN's relations between them."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any, Literal

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError, nearest

Subsets = Literal["first", "random", "all"]
RELATION_WIDTH = 256  # of a frame's features in TRN


def make_relation(num_frames: int, num_classes: int, **options: Any) -> Relation:
    """Return TRN's relations; ConfigError for an option that they do not have."""
    if wrong := next((name for name in options if name != "subsets"), None):
        raise ConfigError(f"trn_ networks have no option {wrong!r}.{nearest(wrong, ['subsets'])} They have: subsets.")
    return Relation(num_frames, num_classes, **options)


class Relation(nn.Module):
    """TRN's relations between frames, on several time scales: Zhou et al., arXiv 1711.08496.

    For each scale k = T, T-1, ..., 2, a small network sees the features of k ordered frames. Scores are summed over
    scales and subsets of frames, of which the authors' code (metalbubble/TRN-pytorch) draws three at random.

    Args:
        num_frames: T, at least 2; it cannot be changed afterwards.
        num_classes: of the scores.
        features: of each frame.
        subsets: "random" subsets, three of each scale, drawn again in each step of training and once for evaluation, so
            that a test can be repeated; the "first" three; or "all", whose mean counts as three.
    """

    whole_clip = True  # no answer can be given before the last frame

    def __init__(
        self, num_frames: int, num_classes: int, *, features: int = RELATION_WIDTH, subsets: Subsets = "random"
    ):
        super().__init__()
        if num_frames < 2:
            raise ConfigError(f"relations between frames need at least 2 of them, got {num_frames}.")
        if subsets not in ("first", "random", "all"):
            raise ConfigError(f"subsets must be first, random or all, got {subsets!r}.")
        self._frames, self.subsets = num_frames, subsets
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
            total = total + scores.mean(dim=1) * min(3, comb(self._frames, k))
        return total

    def _choose(self, k: int, generator: torch.Generator | None) -> list[tuple[int, ...]]:
        every = list(combinations(range(self._frames), k))
        if self.subsets == "random":
            return [every[i] for i in torch.randperm(len(every), generator=generator, device="cpu")[:3]]
        return every[:3] if self.subsets == "first" else every
