"""A causal model that takes one frame of each stream at a time, or a few; its temporal layers become cells."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from teinet.layers.cells import State, cell_for
from teinet.models.classifier import VideoClassifier
from teinet.models.consensus import frame_differences
from teinet.models.insertion import TemporalEntry, set_num_frames

# Of each cell, in the order of the network. If it sees differences, the last frame comes first, and the tensors of a
# cell are (N, 2, ...): of the frames, and of their differences.
States = tuple[State, ...]


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
        before = self.model.pixels(frames[:1, None])
        last = self._logits(frames[:1, None], (before, before.new_zeros(1, 1)))[1]
        state = last + self._taken(1)
        return tuple(tuple(_zeros_like(tensor, len(frames)) for tensor in own) for own in state)

    @torch.no_grad()
    def forward(self, frames: Tensor, state: States) -> tuple[Tensor, States]:
        """Return the logits of these frames, (N, classes) or (N, K, classes), float32 at least, and the next state.

        Args:
            frames: (N, 3, H, W), uint8 from 0 to 255 or normalized float; or (N, K, 3, H, W), K frames of each.
            state: of the N streams, all zeros in one before its first frame; its memory is reused for the next state.
        """
        before: State = ()
        if self.model.sees_differences:
            before, state = state[0], tuple(tuple(tensor.flatten(0, 1) for tensor in own) for own in state[1:])
        for cell, own in zip(self.cells, state, strict=True):
            cell.state = own
        several = frames.dim() == 5
        logits, last = self._logits(frames if several else frames[:, None], before)
        return logits if several else logits[:, 0], last + self._taken(len(frames))

    def _logits(self, frames: Tensor, before: State) -> tuple[Tensor, States]:
        """Return the logits of frames (N, K, 3, H, W), and the next `before`, if the network sees differences.

        Args:
            before: the normalized frame before these, (N, 3, H, W), and (N, 1), 1 or 0 where there was none.
        """
        model, shape = self.model, frames.shape[:2]
        pixels = model.pixels(frames.flatten(0, 1)[:, None])
        if not model.sees_differences:
            return model.logits_of(model.cnn(model.for_cnn(pixels)).unflatten(0, shape)), ()
        clips = pixels.unflatten(0, shape)
        frame, seen = before
        first = (clips[:, :1] - frame[:, None].to(clips.dtype)) * seen.to(clips.dtype)[..., None, None, None]
        # 2N streams, for the cells
        both = torch.cat([clips, frame_differences(clips, model.mean, model.std, first)], 1)
        outputs = model.cnn(model.for_cnn(both.flatten(0, 1))).unflatten(0, (shape[0], 2, shape[1]))
        last = clips[:, -1].clone().to(frame.dtype), seen.clamp(min=1)
        return model.logits_of(outputs.movedim(1, 2).flatten(2)), (last,)

    def _taken(self, streams: int) -> States:
        """Return the cells' states, by stream; each has those of its frames and of their differences."""
        states = tuple(cell.take() for cell in self.cells)
        if not self.model.sees_differences:
            return states
        return tuple(tuple(_by_stream(tensor, streams) for tensor in own) for own in states)


def _by_stream(tensor: Tensor, streams: int) -> Tensor:
    both = tensor.unflatten(0, (streams, 2))
    # what is pooled may be a view of several frames', whose strides a compiled step does not check
    return both if both.dim() > 3 else both.clone(memory_format=torch.contiguous_format)


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
    if tensor.dim() < 4:
        return zeros
    return zeros.flatten(0, -4).contiguous(memory_format=torch.channels_last).view(zeros.shape)
