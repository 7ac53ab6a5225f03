"""What a network costs: parameters, and multiply-adds counted as the paper counts FLOPs (Table 2)."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from teinet.models.classifier import VideoClassifier


def parameters(model: torch.nn.Module) -> int:
    """Learnt numbers of a network."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: VideoClassifier, size: int | tuple[int, int]) -> int:
    """Multiply-adds of one clip of T pictures, `size` x `size` pixels or (height, width).

    `model` takes clips and knows its T as `num_frames`: a `VideoClassifier`. Convolutions and linear layers count;
    pooling, norms and the gate's product do not. Nothing is computed: the network runs on shapes alone.
    """
    shapes = copy.deepcopy(model).to("meta").eval()
    height, width = (size, size) if isinstance(size, int) else size
    clip = torch.empty(1, model.num_frames, 3, height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(clip)
    return counter.get_total_flops() // 2
