"""Batch norms folded into the convolutions before them: in evaluation a norm scales and shifts their outputs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from teinet.models.insertion import plain_class
from teinet.models.systems.layout import BatchNorm3d, Conv3d

_CONVOLUTIONS = (nn.Conv2d, Conv2dSame, Conv3d)  # exactly these: others compute their weights, or use them otherwise
_NORMS = (nn.BatchNorm2d, BatchNormAct2d, nn.BatchNorm3d, BatchNorm3d)


@torch.enable_grad()
def fold_batch_norms(model: nn.Module, example: Tensor) -> int:
    """Fold each batch norm into the convolution whose output goes to it alone; return how many were folded.

    Args:
        model: in evaluation mode; changed in place.
        example: a float input to run on once; the gradient's graph shows what feeds what.
    """
    outputs: dict[int, tuple[nn.Conv2d, Tensor, int, Any]] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d, Any]] = []
    calls: Counter = Counter()

    def after_convolution(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        calls[module] += 1
        # the tensor is kept, so that no other one gets its id; what is done to it in place raises its version
        outputs[id(output)] = (module, output, output._version, output.grad_fn)

    def before_norm(module: nn.BatchNorm2d, args: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        if id(args[0]) in outputs and module.track_running_stats:
            convolution, output, version, step = outputs[id(args[0])]
            if output._version == version:
                pairs.append((convolution, module, step))

    handles = []
    for module in model.modules():
        if plain_class(module) in _CONVOLUTIONS:
            handles.append(module.register_forward_hook(after_convolution))
        elif type(module) in _NORMS:
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        result = model(example.detach().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    uses = _uses(result)
    alone = [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == uses[pair[2]] == 1]
    for convolution, norm, _ in alone:
        _fold(convolution, norm)
        _replace(model, norm)
    return len(alone)


def _uses(result: Tensor) -> Counter:
    """Count how often each step's result is used on the way to the network's result."""
    uses: Counter = Counter()
    seen, open_ = set(), [result.grad_fn]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            uses[following] += 1
            open_.append(following)
    return uses


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    like = convolution.weight
    assert norm.running_mean is not None and norm.running_var is not None  # it tracks statistics
    given = None if convolution.bias is None else convolution.bias.double()
    learned = (norm.weight.double(), norm.bias.double()) if norm.affine else (None, None)
    weight, bias = fuse_conv_bn_weights(
        like.double(), given, norm.running_mean.double(), norm.running_var.double(), norm.eps, *learned
    )
    layout = torch.empty_like(like, dtype=like.dtype)  # channels last, where it was
    convolution.weight = nn.Parameter(layout.copy_(weight), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(like.dtype), requires_grad=False)


def _replace(model: nn.Module, norm: nn.BatchNorm2d) -> None:
    """Replace a folded norm by its activation, or by an identity."""
    rest: nn.Module = nn.Identity()
    if isinstance(norm, BatchNormAct2d):
        kept = (norm.get_submodule(name) for name in ("drop", "act"))
        parts = [part for part in kept if not isinstance(part, nn.Identity)]
        rest = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, rest)
