"""A causal network that goes on frame by frame, or some frames at a time; what came before is kept in a state."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.layers import TemporalLayer
from teinet.models.classifier import VideoClassifier
from teinet.models.insertion import is_causal, set_num_frames, temporal_modules

Past = tuple[tuple[Tensor, ...], ...]  # of each temporal module, in the order of the network


class SteppingClassifier(nn.Module):
    """The next frames of each of N streams, and what was kept of the ones before, to their logits and what to keep.

    The logits of frame t are those that the causal network gives for frame t of a clip of all frames so far, however
    long. Weights are shared with the network that it was made from, not copied.

    Args:
        model: a causal classifier; left as it is.

    Raises:
        ConfigError: a two-sided network, or one with temporal modules of your own, which know no step.
    """

    def __init__(self, model: VideoClassifier):
        super().__init__()
        _check(model)
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.model = set_num_frames(copy.deepcopy(model, shared), 1).eval()
        self.layers: list[_Step] = []
        for module in list(self.model.modules()):
            layer = getattr(module, "temporal", None)
            if isinstance(layer, TemporalLayer):
                module.temporal = _Step(layer)
                self.layers.append(module.temporal)

    @torch.no_grad()
    def blank(self, frames: Tensor) -> Past:
        """What is kept before the first frame: zeros. Runs the network once, on one picture.

        Args:
            frames: (N, 3, H, W), as `forward` takes them.
        """
        count = len(frames)
        for layer in self.layers:
            layer.past = None
        self._logits(frames[:1])
        past = tuple(tuple(_many(tensor, count) for tensor in layer.kept) for layer in self.layers)
        self._forget()
        return past

    @torch.no_grad()
    def forward(self, frames: Tensor, past: Past, fresh: Tensor | None = None) -> tuple[Tensor, Past]:
        """One step.

        Args:
            frames: (N, 3, H, W), uint8 from 0 to 255 or normalised float; or (N, K, 3, H, W), K frames of each.
            past: of the N streams; see `blank`. Its memory is used again for the new one.
            fresh: (N,) bool, which streams see their first frame, whose past must be zeros; None for none.

        Returns:
            Logits of these frames, (N, classes) or (N, K, classes), float32 at least, and the new past.
        """
        several = frames.dim() == 5
        num_frames = frames.shape[1] if several else 1
        for layer, kept in zip(self.layers, past, strict=True):
            layer.past, layer.fresh, layer.num_frames = kept, fresh, num_frames
        logits = self._logits(frames.flatten(0, 1) if several else frames)
        if several:
            logits = logits.unflatten(0, (-1, num_frames))
        now = tuple(layer.kept for layer in self.layers)
        self._forget()
        return logits, now

    def _logits(self, frames: Tensor) -> Tensor:
        return self.model.frame_logits(frames[:, None])[:, 0]

    def _forget(self) -> None:
        for layer in self.layers:
            layer.past = layer.fresh = layer.kept = None


class _Step(nn.Module):
    """Stands where a temporal layer stood; the network around it hands only frames through."""

    def __init__(self, layer: TemporalLayer):
        super().__init__()
        self.layer = layer
        self.past: tuple[Tensor, ...] | None = None
        self.fresh: Tensor | None = None
        self.num_frames = 1
        self.kept: tuple[Tensor, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.past is None:  # only what is kept is asked for
            self.kept = self.layer.blank(x)
            return x
        y, self.kept = self.layer.step(x, self.past, self.fresh, self.num_frames)
        return y


def _many(tensor: Tensor, count: int) -> Tensor:
    """Zeros like a tensor of one stream, for `count`."""
    shape = (count, *tensor.shape[1:])
    zeros = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
    return zeros.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else zeros


def _check(model: VideoClassifier) -> None:
    for module in temporal_modules(model):
        if not isinstance(module, TemporalLayer):
            raise ConfigError(
                f"{type(module).__name__} is no layer of this library and knows no step; give it one by deriving from "
                "teinet.layers.TemporalLayer."
            )
    if not is_causal(model):
        raise ConfigError(
            "this network is two-sided: a frame needs the one after it, so it cannot go on frame by frame. Train a "
            "causal one: teinet train ... --model.causal true (its weights can start it: --model.weights)."
        )
