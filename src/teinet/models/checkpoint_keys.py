"""Translate other projects' keys to timm's, and find the network and the convolutions that follow a shift.

TSM's own repository, mit-han-lab/temporal-shift-module (ops/models.py, ops/temporal_shift.py): `base_model.` is
torchvision's ResNet, or a MobileNetV2 that numbers the layers inside its blocks; `new_fc` is the head, or the base
model's own where it was trained without dropout. A shift holds the convolution after it as its `net`.

MMAction2 (mmaction/models/backbones: resnet, resnet_tsm, mobilenet_v2, mobilenet_v2_tsm): convolution and norm stand in
one module, as its `conv` and `bn`; the head is `cls_head.fc_cls`. A shift holds what comes after it as its `net`: in a
ResNet the convolution, in a MobileNetV2 the module of convolution and norm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
from torch import Tensor

from teinet.errors import CheckpointError
from teinet.models.factory import FLOW_CHANNELS
from teinet.models.weights import Checkpoint, some


@dataclass(frozen=True)
class Translation:
    """Another project's checkpoint under timm's names.

    Args:
        backbone: timm's name of the network.
        tensors: by timm's key, or by the project's where timm has no counterpart.
        shifted: the convolutions after a temporal shift, by timm's path; none in a TSN.
        interpolation: how its images were resized; None takes timm's setting for the network.
    """

    backbone: str
    tensors: dict[str, Tensor]
    shifted: frozenset[str] = frozenset()
    interpolation: str | None = "bilinear"


@dataclass(frozen=True)
class Project:
    """Names of the weights in a project that has a ResNet and a MobileNetV2, each with or without shifts.

    Args:
        title: for messages.
        base, head: what the backbone's keys and the head's begin with.
        resnet, mobilenet: maps a key to timm's, or to None where timm has no counterpart.
        mobilenet_has: a key that only its MobileNetV2 has.
        conv: what follows a convolution's name in a ResNet's keys.
    """

    title: str
    base: str
    head: str
    resnet: Callable[[str], str | None]
    mobilenet: Callable[[str], str | None]
    mobilenet_has: str
    conv: str = ""


_RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {  # (bottlenecks, blocks a stage)
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
_BLOCKS = tuple((stage, block) for stage, depth in enumerate((1, 2, 3, 4, 3, 3, 1)) for block in range(depth))
_VARIANTS = {  # of the keys that the two projects have in common
    r"\.nl\.|\.non_local_block\.": "has non-local blocks",
    r"\.tam\.": "is a TANet",
    r"\blayer\d\.net\.": "pools over time between its stages (temporal_pool)",
    r"\blayer\d\.\d+\.net\.": "shifts whole blocks, their shortcut too (shift_place 'block')",
}


def translate_project(tensors: Mapping[str, Tensor], source: str | Path, project: Project) -> Translation:
    """Return a project's weights under timm's keys; `source` is the file, for messages.

    Raises:
        CheckpointError: an unsupported variant or network.
    """
    for pattern, what in _VARIANTS.items():
        if key := next((key for key in tensors if re.search(pattern, key)), None):
            raise CheckpointError(
                f"{source}: this network {what} (key {key}), which is not supported; "
                "plain TSN, and TSM with shifts inside the residual branches, can be converted."
            )
    inner = {key.removeprefix(project.base).replace(".net.", "."): tensor for key, tensor in tensors.items()}
    is_mobilenet = project.mobilenet_has in tensors
    backbone = "mobilenetv2_100" if is_mobilenet else find_resnet(inner, conv=project.conv)
    if backbone is None:
        raise CheckpointError(
            f"{source}: its weights ({some(list(tensors))}) fit none of the supported networks of {project.title}: "
            "ResNet-18, -34, -50, -101, -152 and MobileNetV2."
        )
    rename = project.mobilenet if is_mobilenet else project.resnet
    ours: dict[str, Tensor] = {}
    shifted = set()
    for key, tensor in tensors.items():
        new = rename(key)
        if new is None or new in ours:  # two keys for one place: the later comparison names it
            new = key
        ours[new] = tensor
        if ".net." in key and tensor.dim() > 1:
            shifted.add(new.rpartition(".")[0])
    return Translation(backbone, ours, frozenset(shifted))


def translate_plain(checkpoint: Checkpoint, source: str | Path, backbone: str | None = None) -> Translation:
    """Return the weights of a TSN: a plain ResNet of torchvision or timm, or the timm network that `backbone` names.

    Args:
        checkpoint, source: the file's content, and its name for messages.
        backbone: timm's name of the network; None takes the file's `arch` (timm's training writes it), else the plain
            ResNet that has these keys.

    Raises:
        CheckpointError: nothing tells which network it is.
    """
    tensors = checkpoint.tensors
    arch = checkpoint.others.get("arch")
    resnet = find_resnet(tensors)
    network = backbone or (arch if isinstance(arch, str) and timm.is_model(arch) else resnet)
    if network is None:
        raise CheckpointError(
            f"{source}: its keys ({some(list(tensors))}) are neither TSM's, MMAction2's nor a plain ResNet's; if they "
            "belong to another timm network, name it (--backbone NAME)."
        )
    return Translation(network, tensors, interpolation="bilinear" if network == resnet else None)


def find_resnet(tensors: Mapping[str, Tensor], conv: str = "") -> str | None:
    """Return timm's name of the plain ResNet that has these keys, without a prefix, or None; `conv`: see `Project`."""
    blocks = {match.groups() for key in tensors if (match := re.match(r"layer([1-4])\.(\d+)\.", key))}
    depths = tuple(sum(stage == str(s) for stage, _ in blocks) for s in (1, 2, 3, 4))
    second = tensors.get(f"layer1.0.conv2{conv}.weight")
    if f"conv1{conv}.weight" not in tensors or second is None or second.shape[:2] != (64, 64):  # wide, grouped
        return None
    return _RESNETS.get((f"layer1.0.conv3{conv}.weight" in tensors, depths))


def _mobilenet_key(position: int, part: int, is_norm: bool, leaf: str) -> str | None:
    """Return timm's key in a MobileNetV2 block, 0 to 16; parts: expanding (not in block 0), depthwise, projecting."""
    parts = ("conv_pw", "conv_dw", "conv_pwl") if position else ("conv_dw", "conv_pw")
    if position >= len(_BLOCKS) or part >= len(parts):
        return None
    stage, block = _BLOCKS[position]
    return f"blocks.{stage}.{block}.{f'bn{part + 1}' if is_norm else parts[part]}.{leaf}"


def _tsm_resnet(key: str) -> str | None:
    if match := re.fullmatch(r"(?:new_fc|base_model\.fc)\.(weight|bias)", key):
        return f"fc.{match[1]}"
    return key.removeprefix("base_model.").replace(".net.", ".") if key.startswith("base_model.") else None


def _tsm_mobilenet(key: str) -> str | None:
    if match := re.fullmatch(r"(?:new_fc|base_model\.classifier)\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    match = re.fullmatch(r"base_model\.features\.(\d+)\.(?:conv\.)?(\d)(?:\.net)?\.(\w+)", key)
    if match is None:
        return None
    layer, leaf = int(match[1]), match[3]
    part, kind = divmod(int(match[2]), 3)  # convolution, norm, activation, and again
    if kind > 1:
        return None
    if layer in (0, 18):  # the features between them are blocks
        return f"{(('conv_stem', 'bn1') if layer == 0 else ('conv_head', 'bn2'))[kind]}.{leaf}"
    return _mobilenet_key(layer - 1, part, kind == 1, leaf)


def _mmaction_resnet(key: str) -> str | None:
    if match := re.fullmatch(r"cls_head\.fc_cls\.(weight|bias)", key):
        return f"fc.{match[1]}"
    if match := re.fullmatch(r"backbone\.((?:layer\d\.\d+\.)?)conv(\d)\.(conv|bn)(?:\.net)?\.(\w+)", key):
        block, number, kind, leaf = match.groups()
        return f"{block}{kind}{number}.{leaf}"
    if match := re.fullmatch(r"backbone\.(layer\d\.\d+\.downsample)\.(conv|bn)\.(\w+)", key):
        return f"{match[1]}.{('conv', 'bn').index(match[2])}.{match[3]}"
    return None


def _mmaction_mobilenet(key: str) -> str | None:
    if match := re.fullmatch(r"cls_head\.fc_cls\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"backbone\.conv([12])\.(conv|bn)\.(\w+)", key):  # conv1 begins the network, conv2 ends it
        number, kind, leaf = match.groups()
        conv = {"1": "conv_stem", "2": "conv_head"}[number]
        return f"{conv if kind == 'conv' else f'bn{number}'}.{leaf}"
    if match := re.fullmatch(r"backbone\.layer(\d)\.(\d+)\.conv\.(\d)(?:\.net)?\.(conv|bn)\.(\w+)", key):
        stage, block, part, kind, leaf = match.groups()
        place = (int(stage) - 1, int(block))
        if place in _BLOCKS:
            return _mobilenet_key(_BLOCKS.index(place), int(part), kind == "bn", leaf)
    return None


PROJECTS = {
    "tsm": Project(
        "TSM's own repository", "base_model.", "new_fc.", _tsm_resnet, _tsm_mobilenet,
        mobilenet_has="base_model.features.0.0.weight",
    ),
    "mmaction": Project(
        "MMAction2", "backbone.", "cls_head.", _mmaction_resnet, _mmaction_mobilenet,
        mobilenet_has="backbone.layer7.0.conv.0.conv.weight", conv=".conv",
    ),
}  # fmt: skip


def find_modality(tensors: Mapping[str, Tensor]) -> Literal["rgb", "flow"]:
    """Return whether a network's first convolution takes RGB or the ten channels of optical flow."""
    first = next((tensor for tensor in tensors.values() if tensor.dim() == 4), None)
    return "flow" if first is not None and first.shape[1] == FLOW_CHANNELS else "rgb"
