"""What the adapters share: which network some keys are, MobileNetV2's blocks, variants that have no equal here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
from torch import Tensor

from teinet.errors import CheckpointError
from teinet.models.weights import Checkpoint, some


@dataclass(frozen=True)
class Translation:
    """A foreign checkpoint in timm's words.

    Args:
        backbone: timm's name of the network.
        tensors: the weights under timm's keys; a key that has no equal there keeps its foreign name.
        shifted: the convolutions that stand behind a temporal shift, by timm's path; none in a TSN.
        interpolation: how its pictures were resized; None: as timm says of the network.
    """

    backbone: str
    tensors: dict[str, Tensor]
    shifted: frozenset[str] = frozenset()
    interpolation: str | None = "bilinear"


_RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {  # (bottlenecks, blocks a stage)
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
MOBILENET = "mobilenetv2_100"
MOBILENET_BLOCKS = tuple((stage, block) for stage, depth in enumerate((1, 2, 3, 4, 3, 3, 1)) for block in range(depth))

_VARIANTS = {  # of the keys that TSM's repository and MMAction2 have in common
    r"\.nl\.|\.non_local_block\.": "has non-local blocks",
    r"\.tam\.": "is a TANet",
    r"\blayer\d\.net\.": "pools over time between its stages (temporal_pool)",
    r"\blayer\d\.\d+\.net\.": "shifts whole blocks, their shortcut too (shift_place 'block')",
}


@dataclass(frozen=True)
class Project:
    """How a project with a ResNet and a MobileNetV2, each with shifts or without, names its weights.

    Args:
        title: for messages.
        base, head: what the backbone's keys and the head's begin with.
        resnet, mobilenet: a key to timm's, or None where timm has no equal.
        mobilenet_has: a key, behind `base`, that only its MobileNetV2 has.
        conv: what follows a convolution's name in a ResNet's keys.
    """

    title: str
    base: str
    head: str
    resnet: Callable[[str], str | None]
    mobilenet: Callable[[str], str | None]
    mobilenet_has: str
    conv: str = ""

    def fits(self, keys: Iterable[str]) -> bool:
        """Whether these keys are this project's."""
        return any(key.startswith((self.base, self.head)) for key in keys)


def translate_project(tensors: Mapping[str, Tensor], source: str | Path, project: Project) -> Translation:
    """A project's weights under timm's keys.

    Args:
        tensors: by the project's keys.
        source: what messages call the file.
        project: whose keys they are.

    Raises:
        CheckpointError: a variant that no network here equals, or a network that is not known.
    """
    refuse_variants(tensors, source)
    if f"{project.base}{project.mobilenet_has}" in tensors:
        return translate_keys(tensors, project.mobilenet, MOBILENET)
    inner = {key.removeprefix(project.base).replace(".net.", "."): tensor for key, tensor in tensors.items()}
    network = find_resnet(inner, conv=project.conv)
    if network is None:
        raise CheckpointError(
            f"{source}: its weights ({some(list(tensors))}) are of none of the networks known of {project.title}: "
            "ResNet-18, -34, -50, -101, -152 and MobileNetV2."
        )
    return translate_keys(tensors, project.resnet, network)


def translate_keys(tensors: Mapping[str, Tensor], rename: Callable[[str], str | None], backbone: str) -> Translation:
    """Rename each key, and note which convolutions the foreign network keeps inside a shift's `net`.

    Args:
        tensors: by foreign key.
        rename: a foreign key to timm's, or None where timm has no equal.
        backbone: timm's name.
    """
    ours: dict[str, Tensor] = {}
    shifted = set()
    for key, tensor in tensors.items():
        new = rename(key)
        if new is None or new in ours:  # a second claim to one place is left for the comparison to name
            new = key
        ours[new] = tensor
        if ".net." in key and tensor.dim() > 1:
            shifted.add(new.rpartition(".")[0])
    return Translation(backbone, ours, frozenset(shifted))


def find_resnet(tensors: Mapping[str, Tensor], conv: str = "") -> str | None:
    """timm's name of the plain ResNet whose keys these are, without a prefix; None where they are another network's.

    Args:
        tensors: by key.
        conv: what follows a convolution's name in the keys.
    """
    blocks = {match.groups() for key in tensors if (match := re.match(r"layer([1-4])\.(\d+)\.", key))}
    depths = tuple(sum(stage == str(s) for stage, _ in blocks) for s in (1, 2, 3, 4))
    second = tensors.get(f"layer1.0.conv2{conv}.weight")
    if f"conv1{conv}.weight" not in tensors or second is None or second.shape[:2] != (64, 64):  # wide, grouped
        return None
    return _RESNETS.get((f"layer1.0.conv3{conv}.weight" in tensors, depths))


def translate_plain(checkpoint: Checkpoint, source: str | Path, backbone: str | None = None) -> Translation:
    """Return the weights of a plain ResNet of torchvision or timm, or of any network of timm that is named: a TSN.

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


def mobilenet_key(position: int, part: int, is_norm: bool, leaf: str) -> str | None:
    """timm's key for one tensor of a MobileNetV2 block, or None where it has no such part.

    Args:
        position: of the block, 0 to 16.
        part: which of the block's convolutions, or the norm behind it: expanding, depthwise, projecting. The first
            block does not expand.
        is_norm: whether it is the norm's.
        leaf: weight, bias, running_mean, ...
    """
    parts = ("conv_pw", "conv_dw", "conv_pwl") if position else ("conv_dw", "conv_pw")
    if position >= len(MOBILENET_BLOCKS) or part >= len(parts):
        return None
    stage, block = MOBILENET_BLOCKS[position]
    return f"blocks.{stage}.{block}.{f'bn{part + 1}' if is_norm else parts[part]}.{leaf}"


def refuse_variants(keys: Iterable[str], source: str | Path) -> None:
    """Refuse a network of TSM's family that timm and a shift before each branch cannot express.

    Raises:
        CheckpointError: it is one; the message names it.
    """
    for pattern, what in _VARIANTS.items():
        if key := next((key for key in keys if re.search(pattern, key)), None):
            raise CheckpointError(
                f"{source}: this network {what} (key {key}), and no network here does; "
                "plain TSN, and TSM with shifts inside the residual branches, can be converted."
            )
