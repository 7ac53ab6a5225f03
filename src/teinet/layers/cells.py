"""The causal layers one frame at a time: cells with a state, as `nn.LSTMCell` is to `nn.LSTM`.

    state = cell.init_state(x)      # x (N, C, H, W): a frame of each of N streams
    y, state = cell(x, state)       # the layer's output for this frame, in a clip of all frames so far

x may hold K frames of each stream, (N*K, C, H, W), those of a stream next to each other. A state is a tuple of tensors
whose first axis is the stream, zeros before the first frame; its memory is reused for the next state. Weights are the
layer's own. Cells give no gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.kernels import fuses_step, fuses_tei, tei_step, temporal_step
from teinet.layers.motion_pool import MotionPool
from teinet.layers.se import SE, SETIM
from teinet.layers.tei import MEM, TEI, TIM
from teinet.layers.temporal_layer import TemporalLayer, pool, scaled
from teinet.layers.tsm import TSM

State = tuple[Tensor, ...]


class Cell(nn.Module):
    """A causal layer that takes one frame of each stream at a time, or a few; ConfigError for a bidirectional one."""

    def __init__(self, layer: TemporalLayer):
        super().__init__()
        if not layer.causal:
            raise ConfigError(
                "a bidirectional network cannot take one frame at a time, because each frame needs the next one. Train "
                "a causal one with --model.causal true (its training can start from these weights), or build one with "
                "teinet.create_model(..., causal=True)."
            )

    def init_state(self, x: Tensor) -> State:
        """Return the state before the first frame, for frames like x (N, C, H, W)."""
        raise NotImplementedError

    forward: Callable[..., tuple[Tensor, State]]  # (N*K, C, H, W) and the state to the same shape and the next state


class MEMCell(Cell):
    """Scale each channel of a frame by what changed since the frame before: u_t = gate_t x_t, u_1 = x_1.

    The state is (N, C+1): the pooled features of the frame before and 1, or zeros where there was none.
    """

    def __init__(self, mem: MEM):
        super().__init__(mem)
        self.mem = mem

    def init_state(self, x: Tensor) -> State:
        return (x.new_zeros(x.shape[0], x.shape[1] + 1, dtype=torch.promote_types(x.dtype, torch.float32)),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        scale, before = self.scale(x, state[0])
        return scaled(x, scale), (before,)

    def scale(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of each frame's channels, (N*K, C), and the next state's tensor."""
        streams, count = len(before), len(x) // len(before)
        if count > 1:  # each frame's own frame before
            clips = F.pad(pool(x).to(before.dtype), (0, 1), value=1.0).unflatten(0, (streams, count))
            before = torch.cat([before[:, None], clips[:, :-1]], 1).flatten(0, 1)
        pooled = pool(x)
        scale = self.mem.gate(before[:, :-1].to(pooled.dtype), pooled)
        scale = torch.where(before[:, -1:] > 0, scale, 1.0)
        here = F.pad(pooled.to(before.dtype), (0, 1), value=1.0)
        return scale, here[count - 1 :: count]


class TIMCell(Cell):
    """Mix a frame with the two before it: y_t = V0 u_{t-2} + V1 u_{t-1} + V2 u_t, where u is the input, scaled or not.

    The state is (u_{t-1}, u_{t-2}), each (N, C, H, W); of another number type than x, it is kept in that.
    """

    def __init__(self, tim: TIM):
        super().__init__(tim)
        self.tim = tim

    def init_state(self, x: Tensor) -> State:
        return torch.zeros_like(x), torch.zeros_like(x)

    def forward(self, x: Tensor, state: State, scale: Tensor | None = None) -> tuple[Tensor, State]:
        """Map x and the state as `Cell` does; `scale` (N*K, C) multiplies x first."""
        one, two = state
        if fuses_step(x, one, two):
            return temporal_step(x, self.tim.V, scale, one, two), (two, one)
        u = x if scale is None else scaled(x, scale)
        if len(x) > len(one):  # after the two before them as one clip, of which those two are cut off again
            clip = u.unflatten(0, (len(one), -1))
            clip = torch.cat([two[:, None].to(x.dtype), one[:, None].to(x.dtype), clip], 1)  # (N, K+2, C, H, W)
            frames = clip.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            y = self.tim.mix(frames, clip.shape[1]).unflatten(0, clip.shape[:2])
            one.copy_(clip[:, -1])
            two.copy_(clip[:, -2])
            return y[:, 2:].flatten(0, 1).contiguous(memory_format=torch.channels_last), (one, two)
        v = self.tim.V.to(x.dtype).t()[:, None, :, None, None]  # (3, 1, C, 1, 1)
        y = v[0] * two.to(x.dtype) + v[1] * one.to(x.dtype) + v[2] * u
        # a copy, for x may be overwritten; not into `two`, for torch.compile has been seen to write before it reads
        return y, (u.to(two.dtype, copy=True, memory_format=torch.preserve_format), one)


class TEICell(Cell):
    """MEM's cell, then TIM's; the state is MEM's followed by TIM's."""

    def __init__(self, tei: TEI):
        super().__init__(tei)
        self.mem, self.tim = MEMCell(tei.mem), TIMCell(tei.tim)

    def init_state(self, x: Tensor) -> State:
        return *self.mem.init_state(x), *self.tim.init_state(x)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (before, one, two), mem, tim = state, self.mem.mem, self.tim.tim
        if fuses_step(x, one, two) and fuses_tei(x, weights := mem.weights) and tim.weight.dtype == weights.w1.dtype:
            y, before = tei_step(x, weights, before, tim.V, one, two, mem.offset)
            return y, (before, two, one)
        scale, before = self.mem.scale(x, before)
        y, frames = self.tim(x, (one, two), scale)
        return y, (before, *frames)


class SETIMCell(Cell):
    """SE, which uses no other frame, then TIM's cell; the state is TIM's."""

    def __init__(self, layer: SETIM):
        super().__init__(layer)
        self.se, self.tim = layer.se, TIMCell(layer.tim)

    def init_state(self, x: Tensor) -> State:
        return self.tim.init_state(x)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.tim(x, state, self.se.scale(x))


class TSMCell(Cell):
    """Take 1/n of the channels from the frame before. The state is these channels, (N, C/n, H, W)."""

    def __init__(self, tsm: TSM):
        super().__init__(tsm)
        self.fold = tsm.fold

    def init_state(self, x: Tensor) -> State:
        return (torch.zeros_like(x[:, : self.fold]),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (before,) = state
        count = len(x) // len(before)
        clips = x[:, : self.fold].unflatten(0, (-1, count))  # (N, K, C/n, H, W)
        moved = torch.cat([before[:, None].to(x.dtype), clips[:, :-1]], 1)
        y = torch.cat([moved.flatten(0, 1), x[:, self.fold :]], 1)
        # Cut from x again and cloned: torch.compile does not see that views which y is made of too are still
        # needed when a block's sum is written over x, and makes no copy in `to` if the type is the same.
        return y, (x[count - 1 :: count, : self.fold].clone().to(before.dtype),)


class MotionPoolCell(Cell):
    """Pool a frame's map, with the changes since the frame before; they are 0 for a stream's first frame.

    The state is the map before, (N, C, H, W), and (N, 1), 1 or 0 where there was none.
    """

    def __init__(self, layer: MotionPool):
        super().__init__(layer)
        self.layer = layer

    def init_state(self, x: Tensor) -> State:
        return torch.zeros_like(x), x.new_zeros(len(x), 1)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        last, any_before = state
        count, seen = len(x) // len(last), any_before.to(x.dtype)
        clips = x.unflatten(0, (-1, count))  # (N, K, C, H, W)
        before = torch.cat([last[:, None].to(x.dtype), clips[:, :-1]], 1).flatten(0, 1)
        if count > 1:
            seen = torch.cat([seen, seen.new_ones(len(last), count - 1)], 1).reshape(-1, 1)
        means = pool(x)
        changes = self.layer.change(x, before, means, pool(before)) * seen
        following = x[count - 1 :: count].clone().to(last.dtype)
        return torch.cat([means, changes.to(means.dtype)], 1), (following, any_before.clamp(min=1))


_CELLS = {MEM: MEMCell, TIM: TIMCell, TEI: TEICell, SETIM: SETIMCell, TSM: TSMCell, MotionPool: MotionPoolCell}


def cell_for(layer: nn.Module) -> nn.Module | None:
    """Return the cell of a layer; None for SE, which needs none.

    A layer of your own returns its cell from a method `cell()`: a module with `init_state` and `forward` as here.

    Raises:
        ConfigError: a bidirectional layer, or a layer of your own without `cell()`.
    """
    if type(layer) is SE:
        return None
    own: Callable[[], nn.Module] | None = getattr(layer, "cell", None)
    if own is not None or type(layer) in _CELLS:
        return own() if own is not None else _CELLS[type(layer)](layer)
    raise ConfigError(
        f"{type(layer).__name__} has no cell, so it cannot take one frame at a time: give it a method cell() that "
        "returns a module like those of teinet.layers.cells (docs/how-to/insert.md)."
    )
