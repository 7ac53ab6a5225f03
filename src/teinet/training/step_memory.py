"""The memory of a training step, known before the first one: the system kills a process that takes too much."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from teinet.errors import ConfigError
from teinet.training.module import freeze
from teinet.training.setup import Parts
from teinet.utils.machine import free_memory

_MORE = 1.2  # of what is kept, for gradients; like the next, as measured of ResNet-50 and EfficientNet-Lite0
_WORKING = 3  # of the largest output: what a layer reads, writes and converts at once
_COPIES = 4  # of the parameters: themselves, gradients, momentum, and one for the weights that are saved


def refuse_too_large(parts: Parts) -> None:
    """Raise ConfigError, with a batch size that fits, if a step on the CPU needs more memory than is free.

    Not checked where gradient checkpointing computes whole blocks again.
    """
    known = parts.hardware.torch_device() == "cpu" and parts.recipe.optim.gradient_checkpointing != "blocks"
    free = free_memory() if known else None
    if free is None:
        return
    processes, config = parts.hardware.devices, parts.recipe.optim
    fixed, clip = step_memory(parts)
    clips = min(config.batch_size, len(parts.splits["train"]))
    needed = processes * (fixed + clip * clips)
    if needed <= free:
        return
    fitting = int((free / processes - fixed) / clip)
    said = (
        f"a step of {clips} clips needs about {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
    )
    if fitting < 1:
        raise ConfigError(f"{said}; lower the size or the number of frames, or take a smaller backbone")
    fitting = 2 ** int(math.log2(fitting))
    times = -(-clips * config.accumulate // fitting)
    raise ConfigError(
        f"{said}; a batch size of {fitting} fits (and optim.accumulate {times} keeps the clips of an update)"
    )


def step_memory(parts: Parts) -> tuple[int, int]:
    """Return about how many bytes a step takes without clips, and for each: what its forward pass keeps and works with.

    Frozen layers before the first one that learns keep nothing.
    """
    height, width = parts.preprocessing.shape
    kept: dict[int, int] = {}
    outputs = [0]

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def on_end(_layer: nn.Module, _inputs: tuple, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append(output.nbytes)

    model = copy.deepcopy(parts.model).train()
    for layer in freeze(model, parts.recipe):
        layer.eval()
    for layer in model.modules():
        layer.register_forward_hook(on_end)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        shape = (1, model.num_frames, model.num_channels, height, width)
        logits = model(torch.zeros(shape, dtype=torch.uint8))
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    clip = sum(size for place, size in kept.items() if place not in own)
    del logits
    fixed = sum((_COPIES if p.requires_grad else 1) * p.untyped_storage().nbytes() for p in model.parameters())
    return fixed, max(1, int(_MORE * clip + _WORKING * max(outputs)))
