"""The layers of a model to freeze for fine-tuning on few clips."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.families import find_branch
from teinet.models.insertion import temporal_modules, undisturbed


def layers_up_to(model: VideoClassifier, stage: int, *, size: tuple[int, int]) -> list[nn.Module]:
    """Return the modules with parameters of their own before the first block whose output has a larger stride.

    Args:
        model: a classifier of a known family; runs once on a black clip, and is not changed.
        stage: k for a stride of 2^k: 1 is the stem; 2, 3, 4 go up to res2, res3, res4, with their temporal modules.
        size: height and width of the images, pixels.

    Raises:
        ConfigError: the network has no block of a later stage.
    """
    parts = dict(model.cnn.named_modules())
    stages: dict[str, int] = {}  # of each block, and of each convolution outside of them

    def on_end(name: str, module: nn.Module, _args: tuple, output: Tensor) -> None:
        if find_branch(module) is not None or output.shape[-1] > 1:  # a gate's convolution sees no image
            stages[name] = round(math.log2(max(size) / max(output.shape[-2:])))

    watched = {n: m for n, m in parts.items() if find_branch(m) is not None or isinstance(m, nn.Conv2d)}
    handles = [module.register_forward_hook(partial(on_end, name)) for name, module in watched.items()]
    try:
        with undisturbed(model):
            shape = (1, model.num_frames, model.num_channels, *size)
            model(torch.zeros(shape, device=next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    early: list[nn.Module] = []
    for name, module in parts.items():  # timm's networks list their modules in the order in which they run
        if stages.get(name, 0) > stage:
            return early
        if next(module.parameters(recurse=False), None) is not None:
            early.append(module)
    held = sorted(set(stages.values()))
    raise ConfigError(
        f"{(model.config or {}).get('name', type(model.cnn).__name__)} has no block after stage {stage} "
        f"(its stages: {', '.join(map(str, held)) or 'none known'})"
    )


def backbone_layers(model: VideoClassifier) -> list[nn.Module]:
    """Return the modules with parameters of their own outside the temporal modules and the head: the 2-D network's."""
    new = {id(module) for part in (*temporal_modules(model), model.head) for module in part.modules()}
    return [
        module
        for module in model.modules()
        if id(module) not in new and next(module.parameters(recurse=False), None) is not None
    ]
