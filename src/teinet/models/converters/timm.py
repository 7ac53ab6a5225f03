"""Plain ResNets of torchvision and timm, whose keys are the same, and any network of timm that is named: a TSN each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import timm

from teinet.errors import CheckpointError
from teinet.models.converters import mmaction, tsm
from teinet.models.converters.networks import Translation, find_resnet
from teinet.models.weights import Checkpoint, some


def fits(keys: Iterable[str]) -> bool:
    """Whether these keys may be a plain network's: they are of no other format."""
    keys = list(keys)
    return not (tsm.fits(keys) or mmaction.fits(keys))


def translate(checkpoint: Checkpoint, source: str | Path, backbone: str | None = None) -> Translation:
    """Its weights, which have timm's keys already.

    Args:
        checkpoint: what the file holds.
        source: what messages call the file.
        backbone: timm's name of the network; None: the name in the file (timm's own training writes it as `arch`),
            or else the plain ResNet that the keys show.

    Raises:
        CheckpointError: no name is given, and neither file nor keys tell it.
    """
    tensors = checkpoint.tensors
    arch = checkpoint.beside.get("arch")
    resnet = find_resnet(tensors)
    network = backbone or (arch if isinstance(arch, str) and timm.is_model(arch) else resnet)
    if network is None:
        raise CheckpointError(
            f"{source}: its keys ({some(list(tensors))}) are neither TSM's, MMAction2's nor a plain ResNet's; if they "
            "are another network's of timm, name it (--backbone NAME)."
        )
    return Translation(network, tensors, interpolation="bilinear" if network == resnet else None)
