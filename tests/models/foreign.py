"""Other projects' TSM and TSN: torchvision's networks with shifts inside their branches, under the projects' own keys.

Key names follow mit-han-lab/temporal-shift-module (ops/models.py, ops/temporal_shift.py, archs/mobilenet_v2.py) and
open-mmlab/mmaction2 (mmaction/models/backbones).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

STAGES = [(stage, block) for stage, depth in enumerate((1, 2, 3, 4, 3, 3, 1), 1) for block in range(depth)]


class Shift(nn.Module):
    """The paper's shift, frame by frame; the convolution behind it is called `net` in both projects."""

    def __init__(self, net: nn.Module, frames: int, div: int = 8):
        super().__init__()
        self.net, self.frames, self.div = net, frames, div

    def forward(self, x: Tensor) -> Tensor:
        clip = x.view(-1, self.frames, *x.shape[1:])
        fold = x.shape[1] // self.div
        out = torch.zeros_like(clip)
        for t in range(self.frames):
            if t + 1 < self.frames:
                out[:, t, :fold] = clip[:, t + 1, :fold]
            if t > 0:
                out[:, t, fold : 2 * fold] = clip[:, t - 1, fold : 2 * fold]
            out[:, t, 2 * fold :] = clip[:, t, 2 * fold :]
        return self.net(out.view_as(x))


class Foreign(nn.Module):
    """Clips (B, T, 3, H, W) to the frames' averaged logits."""

    def __init__(self, format: str, name: str, classes: int, frames: int, *, shift: bool, every: int = 1, div: int = 8):
        super().__init__()
        self.format, self.is_mobilenet = format, name == "mobilenetv2_100"
        self.cnn = getattr(torchvision.models, "mobilenet_v2" if self.is_mobilenet else name)(num_classes=classes)
        if shift and self.is_mobilenet:
            for block in self.cnn.features[1:-1]:
                if block.use_res_connect and len(block.conv) > 3:  # it expands
                    block.conv[0][0] = Shift(block.conv[0][0], frames, div)
        elif shift:
            for stage in range(1, 5):
                for block in getattr(self.cnn, f"layer{stage}")[::every]:
                    block.conv1 = Shift(block.conv1, frames, div)

    def forward(self, clips: Tensor) -> Tensor:
        return self.cnn(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).mean(1)

    def weights(self) -> dict[str, Tensor]:
        """The project's keys and their tensors."""
        own = self.cnn.state_dict()
        return {self._key(key, own): value for key, value in own.items()}

    def _key(self, key: str, own: dict[str, Tensor]) -> str:
        if match := re.fullmatch(r"(?:fc|classifier\.1)\.(\w+)", key):
            return {"tsm": "new_fc.", "mmaction": "cls_head.fc_cls."}[self.format] + match[1]
        if not self.is_mobilenet and self.format == "tsm":
            return f"base_model.{key}"
        if not self.is_mobilenet:  # convolution and norm are one module
            key = key.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")
            return "backbone." + re.sub(r"\b(conv|bn)(\d)\.", r"conv\2.\1.", key)
        layer, part, kind, net, leaf = self._place(key)
        if self.format == "tsm":  # convolution, norm and activation are numbered in one sequence
            inner = "" if layer in (0, 18) else "conv."
            return f"base_model.features.{layer}.{inner}{3 * part + kind}.{net}{leaf}"
        name = ("conv", "bn")[kind]
        if layer in (0, 18):
            return f"backbone.conv{1 if layer == 0 else 2}.{name}.{leaf}"
        stage, block = STAGES[layer - 1]
        if part == 0 and f"features.{layer}.conv.0.0.net.weight" in own:  # both stand behind the shift
            net = "net."
        return f"backbone.layer{stage}.{block}.conv.{part}.{net}{name}.{leaf}"

    @staticmethod
    def _place(key: str) -> tuple[int, int, int, str, str]:
        """Torchvision's key of MobileNetV2: the layer, which of its convolutions, 1 for its norm, "net.", the rest."""
        if match := re.fullmatch(r"features\.(0|18)\.(\d)\.(\w+)", key):
            return int(match[1]), 0, int(match[2]), "", match[3]
        if match := re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\d)\.(net\.)?(\w+)", key):
            return int(match[1]), int(match[2]), int(match[3]), match[4] or "", match[5]
        match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\w+)", key)  # the projection
        layer, index = int(match[1]), int(match[2])
        last = 1 if layer == 1 else 2  # the first block does not expand
        return layer, last, index - last, "", match[3]


def build(format: str, *args: Any, **options: Any) -> Foreign:
    """A project's network without memory for its weights."""
    with torch.device("meta"):
        return Foreign(format, *args, **options)


@torch.no_grad()
def randomize(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and random statistics of the norms, so that no two of them are alike; evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    net = net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=draw)
            module.bias.normal_(0, 0.1, generator=draw)
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
            module.num_batches_tracked.fill_(7)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=draw)
            if module.bias is not None:
                module.bias.normal_(0, 0.1, generator=draw)
    return net.eval()


def tsm_file(net: Foreign, **changes: Any) -> dict[str, Any]:
    """What TSM's training writes: DataParallel's keys among other things; a change to None leaves a key out."""
    state = {f"module.{key}": value for key, value in (net.weights() | changes).items() if value is not None}
    return {"epoch": 50, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}}, "best_prec1": 71.2}


def mmaction_file(net: Foreign, **changes: Any) -> dict[str, Any]:
    """What MMEngine's runner writes, without the objects that only it can make."""
    state = net.weights() | changes
    return {"meta": {"epoch": 50, "cfg": "model = dict(...)"}, "state_dict": state, "message_hub": {}, "optimizer": {}}


FILES: dict[str, Callable[..., dict[str, Any]]] = {"tsm": tsm_file, "mmaction": mmaction_file}
