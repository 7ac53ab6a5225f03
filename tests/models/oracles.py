"""Logits of other libraries' networks for weights that a formula gives.

`python -m tests.models.oracles` rewrites oracles.json with pytorchvideo 0.1.5, which is no dependency: it takes fvcore,
iopath, yacs, termcolor, tabulate and portalocker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from teinet.models.system_keys import i3d_key, slowfast_key

FILE = Path(__file__).with_suffix(".json")
CLASSES, SIZE = 20, 64


@torch.no_grad()
def fill(net: nn.Module) -> nn.Module:
    """Give a network weights by a formula of their names and places; return it in evaluation mode."""
    for name, tensor in net.state_dict().items():
        if not tensor.is_floating_point():
            continue
        wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 0.7 + sum(map(ord, name)))
        scale = math.sqrt(2 / tensor[0].numel()) if tensor.dim() > 1 else 0.2
        center = 1.0 if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")) else 0.0
        tensor.copy_((center + scale * wave).view(tensor.shape))
    return net.eval()


def clip(frames: int) -> Tensor:
    """Return a clip (1, 3, T, 64, 64) by a formula."""
    count = 3 * frames * SIZE * SIZE
    return torch.sin(torch.arange(count, dtype=torch.float64) * 0.37).view(1, 3, frames, SIZE, SIZE).float()


def _networks() -> dict[str, tuple[nn.Module, Callable[[str], str], Callable[[Tensor], Any], int]]:
    from pytorchvideo.models.resnet import create_resnet  # pyright: ignore[reportMissingImports]
    from pytorchvideo.models.slowfast import create_slowfast  # pyright: ignore[reportMissingImports]

    def paths(alpha: int) -> Callable[[Tensor], list[Tensor]]:
        return lambda x: [x[:, :, torch.linspace(0, x.shape[2] - 1, x.shape[2] // alpha).long()], x]

    def slowfast(alpha: int, lateral: int, **how: Any) -> nn.Module:
        return create_slowfast(
            model_num_class=CLASSES, dropout_rate=0, slowfast_fusion_conv_kernel_size=(lateral, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1), head_pool_kernel_sizes=((32 // alpha, 2, 2), (32, 2, 2)), **how,
        )  # fmt: skip

    one, three = (1, 1, 1), (3, 1, 1)
    i3d = create_resnet(
        model_num_class=CLASSES, model_depth=50, dropout_rate=0, stem_conv_kernel_size=(5, 7, 7),
        stage1_pool=nn.MaxPool3d, stage1_pool_kernel_size=(2, 1, 1),
        stage_conv_a_kernel_size=(three, [three, one], [three, one], [one, three]), head_pool_kernel_size=(4, 2, 2),
        head_activation=None,
    )  # fmt: skip
    return {
        "slowfast_resnet50_4x16": (slowfast(8, 5), slowfast_key, paths(8), 32),
        "slowfast_resnet50_8x8": (slowfast(4, 7), slowfast_key, paths(4), 32),
        "i3d_resnet50_8x8": (i3d, i3d_key, lambda x: x, 8),
    }


def main() -> None:
    """Write the logits."""
    from teinet.models import create_model

    found = {}
    for name, (net, to_ours, inputs, frames) in _networks().items():
        filled = fill(create_model(name, num_classes=CLASSES, dropout=0).cnn).state_dict()
        net.load_state_dict({key: filled[to_ours(key)] for key in net.state_dict()})
        with torch.no_grad():
            found[name] = [round(value, 6) for value in net.eval()(inputs(clip(frames)))[0].tolist()]
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
