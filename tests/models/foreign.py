"""Other projects' networks, written plainly and apart from teinet and timm; their structure gives the foreign keys.

Key names follow mit-han-lab/temporal-shift-module (ops/models.py, ops/temporal_shift.py, archs/mobilenet_v2.py) and
open-mmlab/mmaction2 (mmaction/models/backbones).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
RESNETS = {"resnet18": (False, (2, 2, 2, 2)), "resnet50": (True, (3, 4, 6, 3))}  # bottlenecks, depths


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


class TSMRepository(nn.Module):
    """TSM's repository: torchvision's ResNet or its own MobileNetV2 as `base_model`, and `new_fc`."""

    def __init__(self, name: str, classes: int, frames: int, *, shift: bool, every: int = 1, div: int = 8):
        super().__init__()
        if name == "mobilenetv2_100":
            self.base_model: nn.Module = NumberedMobileNet(frames if shift else None, div)
            width = 1280
        else:
            self.base_model = getattr(torchvision.models, name)()
            width, self.base_model.fc = self.base_model.fc.in_features, nn.Dropout(0.5)
            for stage in range(1, 5):
                for i, block in enumerate(getattr(self.base_model, f"layer{stage}")):
                    if shift and i % every == 0:
                        block.conv1 = Shift(block.conv1, frames, div)
        self.new_fc = nn.Linear(width, classes)

    def forward(self, clips: Tensor) -> Tensor:
        logits = self.new_fc(self.base_model(clips.flatten(0, 1)))
        return logits.unflatten(0, clips.shape[:2]).mean(1)


class NumberedMobileNet(nn.Module):
    """MobileNetV2 whose blocks number convolution, norm and activation in one sequence."""

    def __init__(self, frames: int | None, div: int = 8):
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*_layer(3, 32, 3, 2))]
        width = 32
        for expansion, out, depth, stride in MOBILENET:
            for i in range(depth):
                layers.append(NumberedBlock(width, out, stride if i == 0 else 1, expansion, frames, div))
                width = out
        layers.append(nn.Sequential(*_layer(width, 1280, 1)))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean((2, 3))


class NumberedBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int, expansion: int, frames: int | None, div: int):
        super().__init__()
        inner = width * expansion
        self.shortcut = stride == 1 and width == out
        expand = _layer(width, inner, 1) if expansion != 1 else []
        if expand and self.shortcut and frames:
            expand[0] = Shift(expand[0], frames, div)
        self.conv = nn.Sequential(*expand, *_layer(inner, inner, 3, stride, inner), *_layer(inner, out, 1)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


def _layer(width: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU6()]


class ConvNorm(nn.Module):
    """MMAction2's module of convolution (`conv`), norm (`bn`) and activation."""

    def __init__(self, *shape: int, groups: int = 1, activation: Callable[..., Tensor] | None = torch.relu):
        super().__init__()
        width, out, kernel, stride = shape
        self.conv: nn.Module = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.activation = activation or (lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class MMResidual(nn.Module):
    def __init__(self, width: int, inner: int, stride: int, bottleneck: bool):
        super().__init__()
        out = inner * 4 if bottleneck else inner
        if bottleneck:
            self.conv1, self.conv2 = ConvNorm(width, inner, 1, 1), ConvNorm(inner, inner, 3, stride)
            self.conv3 = ConvNorm(inner, out, 1, 1, activation=None)
        else:
            self.conv1 = ConvNorm(width, inner, 3, stride)
            self.conv2 = ConvNorm(inner, inner, 3, 1, activation=None)
        if stride != 1 or width != out:
            self.downsample = ConvNorm(width, out, 1, stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        y = self.conv3(y) if hasattr(self, "conv3") else y
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class MMResNet(nn.Module):
    def __init__(self, name: str, frames: int | None, div: int = 8):
        super().__init__()
        bottleneck, depths = RESNETS[name]
        self.conv1, self.maxpool = ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)
        width = 64
        for stage, depth in enumerate(depths):
            inner = 64 * 2**stage
            blocks = []
            for i in range(depth):
                block = MMResidual(width, inner, 2 if stage and i == 0 else 1, bottleneck)
                if frames:
                    block.conv1.conv = Shift(block.conv1.conv, frames, div)
                blocks.append(block)
                width = inner * 4 if bottleneck else inner
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class MMInverted(nn.Module):
    def __init__(self, width: int, out: int, stride: int, expansion: int, frames: int | None, div: int):
        super().__init__()
        inner, relu6 = width * expansion, nn.functional.relu6
        self.shortcut = stride == 1 and width == out
        parts: list[nn.Module] = [] if expansion == 1 else [ConvNorm(width, inner, 1, 1, activation=relu6)]
        if parts and self.shortcut and frames:
            parts[0] = Shift(parts[0], frames, div)
        parts += [ConvNorm(inner, inner, 3, stride, groups=inner, activation=relu6)]
        self.conv = nn.Sequential(*parts, ConvNorm(inner, out, 1, 1, activation=None))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MMMobileNet(nn.Module):
    def __init__(self, frames: int | None, div: int = 8):
        super().__init__()
        self.conv1 = ConvNorm(3, 32, 3, 2, activation=nn.functional.relu6)
        width = 32
        for stage, (expansion, out, depth, stride) in enumerate(MOBILENET, start=1):
            blocks = []
            for i in range(depth):
                blocks.append(MMInverted(width, out, stride if i == 0 else 1, expansion, frames, div))
                width = out
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.conv2 = ConvNorm(width, 1280, 1, 1, activation=nn.functional.relu6)
        self.width = 1280

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in range(1, 8):
            x = getattr(self, f"layer{stage}")(x)
        return self.conv2(x).mean((2, 3))


class MMAction(nn.Module):
    """MMAction2's recogniser: `backbone` and `cls_head.fc_cls`."""

    def __init__(self, name: str, classes: int, frames: int, *, shift: bool, div: int = 8):
        super().__init__()
        inside = frames if shift else None
        self.backbone = MMMobileNet(inside, div) if name == "mobilenetv2_100" else MMResNet(name, inside, div)
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(self.backbone.width, classes)

    def forward(self, clips: Tensor) -> Tensor:
        logits = self.cls_head.fc_cls(self.backbone(clips.flatten(0, 1)))
        return logits.unflatten(0, clips.shape[:2]).mean(1)


_NETWORKS: dict[str, Callable[..., nn.Module]] = {"tsm": TSMRepository, "mmaction": MMAction}


def build(format: str, *args: Any, **options: Any) -> nn.Module:
    """A project's network without memory for its weights."""
    with torch.device("meta"):
        return _NETWORKS[format](*args, **options)


@torch.no_grad()
def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
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


def tsm_file(net: nn.Module, **changes: Any) -> dict[str, Any]:
    """What TSM's training writes: DataParallel's keys among other things."""
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    state.update(changes)
    state = {key: value for key, value in state.items() if value is not None}
    return {"epoch": 50, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}}, "best_prec1": 71.2}


def mmaction_file(net: nn.Module, **changes: Any) -> dict[str, Any]:
    """What MMEngine's runner writes, without the objects that only it can make."""
    state = {**net.state_dict(), **changes}
    return {"meta": {"epoch": 50, "cfg": "model = dict(...)"}, "state_dict": state, "message_hub": {}, "optimizer": {}}


FILES: dict[str, Callable[..., dict[str, Any]]] = {"tsm": tsm_file, "mmaction": mmaction_file}
