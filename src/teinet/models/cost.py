"""What a network costs: parameters, and multiply-adds counted as the paper counts FLOPs (Table 2)."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from teinet.models.classifier import VideoClassifier


def parameters(model: torch.nn.Module) -> int:
    """Learnt numbers of a network."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: VideoClassifier, size: int) -> int:
    """Multiply-adds of one clip of T pictures of `size` x `size` pixels.

    Those of convolutions and linear layers; pooling, norms and the gate's product are not counted. Nothing is computed:
    the network runs on shapes alone.
    """
    shapes = copy.deepcopy(model).to("meta").eval()
    clip = torch.empty(1, model.num_frames, 3, size, size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(clip)
    return counter.get_total_flops() // 2
