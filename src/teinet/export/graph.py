"""The networks that are exported: pixels in, scores out, in plain operations that every runtime has.

Temporal modules take the form that a runtime computes fastest; all forms give the same numbers up to rounding.
"""

from __future__ import annotations

import copy
from itertools import accumulate
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.layers.se import SETIM
from teinet.layers.tei import TEI, TIM
from teinet.layers.temporal_layer import scaled
from teinet.models.classifier import VideoClassifier
from teinet.models.folding import fold_batch_norms
from teinet.models.insertion import TemporalEntry
from teinet.models.optimized import EXAMPLE_SIZES
from teinet.models.streaming import StreamingClassifier

Mixing = Literal["convolution", "shift"]


class ClipGraph(nn.Module):
    """Maps the frames of N clips, (N*T, C, S, S) uint8, to logits (N, classes) and the clips' mean scores (classes,).

    Args:
        model: not changed.
        mixing: how TIM's kernels (Eq. 4) are computed: "convolution" is a depthwise one over (T, H*W); "shift" is a sum
            of three products with the frames before, at and after each.
    """

    def __init__(self, model: VideoClassifier, mixing: Mixing = "convolution"):
        super().__init__()
        self.model = _plain(model)
        for module in self.model.modules():
            if (
                mixing == "shift"
                and isinstance(module, TemporalEntry)
                and isinstance(module.temporal, (TEI, SETIM, TIM))
            ):
                module.temporal = ShiftedMix(module.temporal)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(pixels.unflatten(0, (-1, self.model.num_frames)))
        return logits, logits.softmax(-1).mean(0)


class StepGraph(nn.Module):
    """Maps the next frames of N streams, (N, C, S, S) uint8, and their state to logits (N, classes) and the next state.

    Args:
        model: causal; not changed.
    """

    def __init__(self, model: VideoClassifier):
        super().__init__()
        self.network = StreamingClassifier(_plain(model))
        shape = (1, model.num_channels, *EXAMPLE_SIZES[:1] * 2)
        state = self.network.init_state(torch.zeros(shape, dtype=torch.uint8))
        self.sizes = [len(own) for own in state]

    def init_state(self, pixels: Tensor) -> list[Tensor]:
        """Return the state before the first frame, zeros, for frames like these."""
        return [tensor for own in self.network.init_state(pixels) for tensor in own]

    def forward(self, pixels: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        ends = list(accumulate(self.sizes))
        owns = tuple(state[end - size : end] for size, end in zip(self.sizes, ends))
        logits, following = self.network(pixels, owns)
        return logits, *(tensor for own in following for tensor in own)


class ShiftedMix(nn.Module):
    """TEI, SE+TIM or TIM as a sum of three products, whose factors hold kernel, gate and the clip's borders.

    y_t = V0 g_{t-1} x_{t-1} + V1 g_t x_t + V2 g_{t+1} x_{t+1},   g = 0 outside the clip

    Shifts run along the batch, over all clips: the factors of frames of another clip are 0.
    """

    def __init__(self, layer: TEI | SETIM | TIM):
        super().__init__()
        self.layer = layer
        self.num_frames = layer.num_frames

    def forward(self, x: Tensor) -> Tensor:
        layer, frames, channels = self.layer, self.num_frames, x.shape[1]
        tim = layer if isinstance(layer, TIM) else layer.tim
        if isinstance(layer, TEI) and frames > 1:
            gate = layer.mem.scale(x)
        elif isinstance(layer, SETIM):
            gate = layer.se.scale(x).reshape(-1, frames, channels)
        else:
            gate = x.new_ones(1, 1, 1).expand(x.shape[0] // frames, frames, channels)
        gate = F.pad(gate, (0, 0, 1, 1))  # (N, T+2, C), zeros outside the clip
        before, here, after = (
            scaled(x.new_ones(()).expand_as(x[..., :1, :1]), (gate[:, i : i + frames] * tim.V[:, i]).reshape(-1))
            for i in range(3)
        )
        previous, following = torch.cat([x[:1], x[:-1]]), torch.cat([x[1:], x[-1:]])
        return before * previous + here * x + after * following


def _plain(model: VideoClassifier) -> VideoClassifier:
    """Return a copy with folded norms, in contiguous memory, without gradients."""
    model = copy.deepcopy(model).float().cpu().eval().requires_grad_(False)
    for size in EXAMPLE_SIZES:
        try:
            fold_batch_norms(model.cnn, torch.randn(model.num_frames, model.num_channels, size, size))
            break
        except (RuntimeError, AssertionError, ValueError):  # some networks take images of one size only
            continue
    return model.to(memory_format=torch.contiguous_format)
