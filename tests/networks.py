"""Networks for tests: fresh ones hide their temporal modules, so tests about time must wake them first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from teinet import Recognizer, create_model
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from tests.conftest import CLASSES

NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


@torch.no_grad()
def wake(net: nn.Module, head_std: float = 1.0) -> nn.Module:
    """Let the residual branches, the norms' statistics and the head count, as after training; returns the network.

    timm starts the last norm of each residual branch at zero. The branch, and the temporal module in it, then have no
    effect on the answer: a network with and one without the module give the same logits for frames in any order.
    """
    for module in net.modules():
        if isinstance(module, NORMS) and module.weight is not None:
            module.weight.uniform_(0.5, 1)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    if hasattr(net, "head"):
        net.head.weight.normal_(std=head_std)  # a fresh head gives nearly the same scores for every clip
    return net


def weightless(build: Callable[[], nn.Module]) -> nn.Module:
    """The network on the meta device, or on the CPU where building it reads numbers, as in older timms."""
    try:
        with torch.device("meta"):
            return build()
    except RuntimeError:
        return build()


def small_recognizer(name: str = "tsm_resnet10t", num_frames: int = 2) -> Recognizer:
    """A fresh network of the drawn clips' classes, for images of 32 x 32."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, num_frames=num_frames)
    pixels = Preprocessing(size=32, short_side=32, **model.data_config)
    return Recognizer(model, CLASSES, preprocessing=pixels, sampling=Sampling(num_frames=num_frames))
