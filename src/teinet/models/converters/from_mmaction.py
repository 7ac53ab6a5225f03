"""MMAction2 (mmaction/models/backbones: resnet, resnet_tsm, mobilenet_v2, mobilenet_v2_tsm): its TSN and TSM.

Convolution and norm stand in one module, as its `conv` and `bn`; the head is `cls_head.fc_cls`. A shift keeps what is
behind it as its `net`: in a ResNet the convolution, in a MobileNetV2 the module of convolution and norm.
"""

from __future__ import annotations

import re

from teinet.models.converters.translation import MOBILENET_BLOCKS, Project, mobilenet_key

_BASE = "backbone."
_HEAD = re.compile(r"cls_head\.fc_cls\.(weight|bias)")
_RESNET = re.compile(r"((?:layer\d\.\d+\.)?)conv(\d)\.(conv|bn)(?:\.net)?\.(\w+)")
_SHORTCUT = re.compile(r"(layer\d\.\d+\.downsample)\.(conv|bn)\.(\w+)")
_ENDS = re.compile(r"conv([12])\.(conv|bn)\.(\w+)")
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.conv\.(\d)(?:\.net)?\.(conv|bn)\.(\w+)")


def _resnet(key: str) -> str | None:
    if match := _HEAD.fullmatch(key):
        return f"fc.{match[1]}"
    inner = key.removeprefix(_BASE)
    if match := _RESNET.fullmatch(inner):
        block, number, kind, leaf = match.groups()
        return f"{block}{kind}{number}.{leaf}"
    if match := _SHORTCUT.fullmatch(inner):
        return f"{match[1]}.{('conv', 'bn').index(match[2])}.{match[3]}"
    return None


def _mobilenet(key: str) -> str | None:
    if match := _HEAD.fullmatch(key):
        return f"classifier.{match[1]}"
    inner = key.removeprefix(_BASE)
    if match := _ENDS.fullmatch(inner):  # conv1 begins the network, conv2 ends it
        number, kind, leaf = match.groups()
        conv = {"1": "conv_stem", "2": "conv_head"}[number]
        return f"{conv if kind == 'conv' else f'bn{number}'}.{leaf}"
    if match := _BLOCK.fullmatch(inner):
        stage, block, part, kind, leaf = match.groups()
        place = (int(stage) - 1, int(block))
        if place in MOBILENET_BLOCKS:
            return mobilenet_key(MOBILENET_BLOCKS.index(place), int(part), kind == "bn", leaf)
    return None


MMACTION = Project(
    title="MMAction2",
    base=_BASE,
    head="cls_head.",
    resnet=_resnet,
    mobilenet=_mobilenet,
    mobilenet_has="layer7.0.conv.0.conv.weight",
    conv=".conv",
)
