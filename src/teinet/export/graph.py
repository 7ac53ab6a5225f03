"""The networks that are exported: pixels in, scores out, in plain operations that every runtime has.

Temporal modules take the form that a runtime computes fastest; all forms give the same numbers up to rounding.
"""

from __future__ import annotations

import copy
from itertools import accumulate

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


class ClipGraph(nn.Module):
    """Maps the frames of N clips, (N*T, C, S, S) uint8, to logits (N, classes) and the clips' mean scores (classes,).

    Args:
        model: not changed.
        channels_last: let TIM work on feature maps stored channels-last, as OpenVINO keeps them.
    """

    def __init__(self, model: VideoClassifier, *, channels_last: bool = False):
        super().__init__()
        self.model = _plain(model)
        for module in self.model.modules():
            if channels_last and isinstance(module, TemporalEntry) and isinstance(module.temporal, (TEI, SETIM, TIM)):
                module.temporal = ChannelsLastTIM(module.temporal)

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


class ChannelsLastTIM(nn.Module):
    """TEI, SE+TIM or TIM, for runtimes that store feature maps channels-last, as OpenVINO does.

    Each reshaping to the images (N, C, T, H*W) of the depthwise convolution (Eq. 4) is a view there.
    """

    def __init__(self, layer: TEI | SETIM | TIM):
        super().__init__()
        self.layer = layer
        self.num_frames = layer.num_frames

    def forward(self, x: Tensor) -> Tensor:
        layer, (_, channels, height, width) = self.layer, x.shape
        tim = layer if isinstance(layer, TIM) else layer.tim
        if isinstance(layer, TEI) and self.num_frames > 1:
            x = scaled(x, layer.mem.scale(x))
        elif isinstance(layer, SETIM):
            x = scaled(x, layer.se.scale(x))
        else:  # without effect on values; directly after a convolution, OpenVINO copies each map that is reshaped
            x = x.clamp(min=torch.finfo(x.dtype).min)
        clip = x.permute(0, 2, 3, 1).reshape(-1, self.num_frames, height * width, channels).permute(0, 3, 1, 2)
        y = F.conv2d(clip, tim.weight, padding=(1, 0), groups=channels)
        y = y.permute(0, 2, 3, 1).reshape(-1, height, width, channels)
        return y.permute(0, 3, 1, 2).contiguous()  # so that later layers are traced for contiguous memory


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
