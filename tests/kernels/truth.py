"""The equations in float64, written with slices and plain sums: what every form of the kernels is held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from teinet import kernels


def temporal_conv(x: Tensor, weight: Tensor | None, gate: Tensor | None, num_frames: int, lag: int = 0) -> Tensor:
    """Eq. 3's product and Eq. 4 on x (B*T, C, H, W)."""
    clip = x.double().unflatten(0, (-1, num_frames))  # (B, T, C, H, W)
    if gate is not None:
        clip = clip * gate.double().view(*clip.shape[:3], 1, 1)
    if weight is None:
        return clip.flatten(0, 1)
    v = weight.double()[:, :, None, None].unbind(1)  # (C, 1, 1)
    frames = []
    for t in range(num_frames):
        y = torch.zeros_like(clip[:, t])
        for i, from_frame in enumerate((t - 1 - lag, t - lag, t + 1 - lag)):
            if 0 <= from_frame < num_frames:
                y = y + v[i] * clip[:, from_frame]
        frames.append(y)
    return torch.stack(frames, 1).flatten(0, 1)


def motion_gate(x: Tensor, weights: tuple[Tensor, ...], num_frames: int, offset: float) -> Tensor:
    """Eq. 1 and 2, and 1 for the last frame, as (B, T, C)."""
    w1, b1, w2, b2, w3, b3 = (w.double().flatten(1) if w.dim() > 1 else w.double() for w in weights)
    pooled = x.double().mean((2, 3)).unflatten(0, (-1, num_frames))
    rows = []
    for t in range(num_frames - 1):
        s = (pooled[:, t] @ w1.t() + b1) - (pooled[:, t + 1] @ w2.t() + b2)
        rows.append(1 / (1 + torch.exp(-(s @ w3.t() + b3))) + offset)
    rows.append(torch.ones_like(pooled[:, 0]))
    return torch.stack(rows, 1)


def tei(
    x: Tensor, weights: Sequence[Tensor], kernel: Tensor | None, num_frames: int, causal: bool, offset: float
) -> Tensor:
    """MEM, then TIM; in the causal form a pair's gate is on the later frame, and the first frame has none."""
    gate = motion_gate(x, tuple(weights), num_frames, offset)
    gate = gate.roll(1, 1) if causal else gate
    return temporal_conv(x, kernel, gate.flatten(0, 1), num_frames, int(causal and kernel is not None))


def error(got: Tensor, want: Tensor, size: Tensor | None = None) -> float:
    """The largest difference, of the largest number wanted, or of the largest in `size`."""
    assert got.shape == want.shape
    largest = (want if size is None else size).abs().max()
    return ((got.double() - want).abs().max() / largest.clamp_min(1e-12)).item()


def answers(function: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and of the sum of its squares the gradients towards x and the module's parameters."""
    given = x.detach().clone().requires_grad_()
    y = function(given)
    return [y, *torch.autograd.grad(y.square().sum(), (given, *module.parameters()))]


def gradients(y: Tensor, towards: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Of the sum of y * towards."""
    return list(torch.autograd.grad((y * towards).sum(), inputs))


def check_temporal_conv(
    shape: tuple[int, ...], dtype: torch.dtype, *, kind: str, layout: str, lag: int = 0, device: str = "cpu"
) -> None:
    """Hold the form that is switched on, output and all gradients, to float64.

    Args:
        shape: B, T, C, H, W.
        kind: "both", "weight" (TIM alone) or "gate" (MEM alone).
        layout: "channels_last", "contiguous", "sliced" or "expanded".
    """
    clips, num_frames, channels, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(clips * num_frames, channels, height, width, generator=generator).to(device, dtype)
    x = lay_out(x, layout)
    small = torch.promote_types(dtype, torch.float32)
    weight = torch.randn(channels, 3, generator=generator).to(device, small) if kind != "gate" else None
    gate = None
    if kind != "weight":
        gate = torch.rand(clips * num_frames, channels, generator=generator).to(device, small)
    towards = torch.randn(x.shape, generator=generator).to(device, dtype)
    names = [name for name, tensor in zip(("x", "weight", "gate"), (x, weight, gate)) if tensor is not None]

    def run(what, *tensors: Tensor | None, towards: Tensor) -> list[Tensor]:
        inputs = [tensor if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]
        y = what(*inputs, num_frames=num_frames, lag=lag)
        return [y.detach(), *gradients(y, towards, [tensor for tensor in inputs if tensor is not None])]

    got = run(kernels.temporal_conv, x, weight, gate, towards=towards)
    exact = [None if tensor is None else tensor.double() for tensor in (x, weight, gate)]
    want = run(temporal_conv, *exact, towards=towards.double())
    # sums of both signs may be small: rounding is measured against the sums of the absolute values
    sizes = [None if tensor is None else tensor.abs() for tensor in exact]
    sizes = run(temporal_conv, *sizes, towards=towards.double().abs())
    assert got[0].dtype == got[1].dtype == dtype
    limit = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype]
    for name, ours, theirs, size in zip(("y", *names), got, want, sizes, strict=True):
        wrong = error(ours, theirs, size)
        assert wrong < limit, f"{name} of {shape}, {dtype}, {kind}, {layout}, lag {lag}: {wrong}"


def lay_out(x: Tensor, layout: str) -> Tensor:
    """The same numbers in another place of memory; "expanded": one image for all."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        wide = torch.zeros(x.shape[0], x.shape[1] + 3, *x.shape[2:], dtype=x.dtype, device=x.device)
        wide = wide.contiguous(memory_format=torch.channels_last)
        wide[:, 1:-2] = x
        return wide[:, 1:-2]
    if layout == "expanded":
        return x[:1].expand(x.shape)
    return x.contiguous()
