"""TSM's own repository, mit-han-lab/temporal-shift-module (ops/models.py, ops/temporal_shift.py): its TSM and TSN.

`base_model.` is torchvision's ResNet, or a MobileNetV2 that numbers the layers inside its blocks; `new_fc` is the head,
or the base model's own where it was trained without dropout. A shift keeps the convolution behind it as its `net`.
"""

from __future__ import annotations

import re

from teinet.models.converters.translation import Project, mobilenet_key

_BASE = "base_model."
_HEADS = re.compile(r"(?:new_fc|base_model\.fc|base_model\.classifier)\.(weight|bias)")
_MOBILENET = re.compile(r"features\.(\d+)\.(?:conv\.)?(\d)(?:\.net)?\.(\w+)")
_ENDS = {0: ("conv_stem", "bn1"), 18: ("conv_head", "bn2")}  # the features between them are blocks


def _resnet(key: str) -> str | None:
    if match := _HEADS.fullmatch(key):
        return f"fc.{match[1]}"
    return key.removeprefix(_BASE).replace(".net.", ".") if key.startswith(_BASE) else None


def _mobilenet(key: str) -> str | None:
    if match := _HEADS.fullmatch(key):
        return f"classifier.{match[1]}"
    match = _MOBILENET.fullmatch(key.removeprefix(_BASE))
    if match is None:
        return None
    layer, leaf = int(match[1]), match[3]
    part, kind = divmod(int(match[2]), 3)  # convolution, norm, activation, and again
    if kind > 1:
        return None
    if layer in _ENDS:
        return f"{_ENDS[layer][kind]}.{leaf}"
    return mobilenet_key(layer - 1, part, kind == 1, leaf)


TSM = Project(
    title="TSM's own repository",
    base=_BASE,
    head="new_fc.",
    resnet=_resnet,
    mobilenet=_mobilenet,
    mobilenet_has="features.0.0.weight",
)
