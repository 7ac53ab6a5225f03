"""Parts of a network that stay as they were while the rest learns, for fine-tuning on few clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.families import find_branch
from teinet.models.insertion import temporal_modules, undisturbed


def layers_up_to(model: VideoClassifier, stage: int, *, size: tuple[int, int]) -> list[nn.Module]:
    """The modules with parameters of their own that run before the first block whose output has a larger stride.

    Args:
        model: a classifier of a known family; runs once on a black clip, and is left as it was.
        stage: k for a stride of 2^k: 1 is the stem, 2 to 4 also the stages up to res2, res3, res4, with their temporal
            modules.
        size: height and width of a picture that the network takes, pixels.

    Raises:
        ConfigError: the network has no block of a later stage.
    """
    begins: dict[str, int] = {}  # when each module is first called
    stages: dict[str, int] = {}  # of each block, and of each convolution outside of them
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def on_start(_module: nn.Module, _args: tuple) -> None:
            begins.setdefault(name, len(begins))

        def on_end(_module: nn.Module, _args: tuple, output: Tensor) -> None:
            if find_branch(module) is not None or output.shape[-1] > 1:  # a gate's convolution sees no picture
                stages[name] = round(math.log2(max(size) / max(output.shape[-2:])))

        handles.append(module.register_forward_pre_hook(on_start))
        if find_branch(module) is not None or isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(on_end))

    for name, module in model.cnn.named_modules():
        watch(name, module)
    try:
        with undisturbed(model):
            model(torch.zeros(1, model.num_frames, 3, *size, device=next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    later = [begins[name] for name, reached in stages.items() if reached > stage]
    if not later:
        held = sorted(set(stages.values()))
        raise ConfigError(
            f"{(model.config or {}).get('name', type(model.cnn).__name__)} has no block after stage {stage} "
            f"(its stages: {', '.join(map(str, held)) or 'none that are known'})"
        )
    del begins[""]

    def is_early(name: str) -> bool:
        """Called before the first later block; where a kernel reads its weights instead, what holds it was."""
        while name and name not in begins:
            name = name.rpartition(".")[0]
        return begins.get(name, len(begins)) < min(later)

    return [
        module
        for name, module in model.cnn.named_modules()
        if next(module.parameters(recurse=False), None) is not None and is_early(name)
    ]


def backbone_layers(model: VideoClassifier) -> list[nn.Module]:
    """The modules with parameters of their own outside the temporal modules and the last layer: the 2-D network's."""
    new = {id(module) for part in (*temporal_modules(model), model.head) for module in part.modules()}
    return [
        module
        for module in model.modules()
        if id(module) not in new and next(module.parameters(recurse=False), None) is not None
    ]
