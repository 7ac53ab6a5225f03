"""A causal model that takes one frame of each stream at a time, or a few; its temporal layers become cells."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from teinet.layers.cells import State, cell_for
from teinet.models.classifier import VideoClassifier
from teinet.models.insertion import TemporalEntry, set_num_frames

States = tuple[State, ...]  # of each cell, in the order of the network


class StreamingClassifier(nn.Module):
    """Maps the next frames of N streams, and the state, to their logits and the next state.

    The logits of frame t equal those of the causal model for frame t of one long clip of all frames so far.

    Args:
        model: a causal classifier; not changed, its weights are shared.

    Raises:
        ConfigError: a bidirectional network, one with one answer a clip, or one with temporal modules of your own that
            have no cell.
    """

    def __init__(self, model: VideoClassifier):
        super().__init__()
        model.check_framewise()
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.model = set_num_frames(copy.deepcopy(model, shared), 1).eval()
        self.cells: list[_Passing] = []
        for module in list(self.model.modules()):
            if isinstance(module, TemporalEntry) and (cell := cell_for(module.temporal)) is not None:
                module.temporal = _Passing(cell)
                self.cells.append(module.temporal)

    @torch.no_grad()
    def init_state(self, frames: Tensor) -> States:
        """Return the state before the first frame, zeros, for frames like these (N, 3, H, W); runs the network once."""
        for cell in self.cells:
            cell.state = None
        self._logits(frames[:1])
        return tuple(tuple(_zeros_like(tensor, len(frames)) for tensor in cell.take()) for cell in self.cells)

    @torch.no_grad()
    def forward(self, frames: Tensor, state: States) -> tuple[Tensor, States]:
        """Return the logits of these frames, (N, classes) or (N, K, classes), float32 at least, and the next state.

        Args:
            frames: (N, 3, H, W), uint8 from 0 to 255 or normalized float; or (N, K, 3, H, W), K frames of each.
            state: of the N streams, all zeros in one before its first frame; its memory is reused for the next state.
        """
        for cell, own in zip(self.cells, state, strict=True):
            cell.state = own
        logits = self._logits(frames.flatten(0, 1) if frames.dim() == 5 else frames)
        if frames.dim() == 5:
            logits = logits.unflatten(0, frames.shape[:2])
        return logits, tuple(cell.take() for cell in self.cells)

    def _logits(self, frames: Tensor) -> Tensor:
        return self.model.frame_logits(frames[:, None])[:, 0]


class _Passing(nn.Module):
    """Gives a cell its state, as the network around it passes only frames."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell: Any = cell
        self.state: State | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.state is None:  # only the first state is asked for
            self.state = self.cell.init_state(x)
            return self.cell(x, self.cell.init_state(x))[0]
        x, self.state = self.cell(x, self.state)
        return x

    def take(self) -> State:
        """Return the state and drop it."""
        state, self.state = self.state, None
        assert state is not None
        return state


def _zeros_like(tensor: Tensor, count: int) -> Tensor:
    """Return zeros of the shape of one stream's tensor, for `count` streams."""
    zeros = tensor.new_zeros((count, *tensor.shape[1:]))
    return zeros.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else zeros
