"""The first convolution of the residual branch in each supported block class.

Classes are named by text, so that none is imported, and a library version without one is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Branch:
    """The beginning of a block's residual branch.

    Args:
        path: of the branch's first module, inside the block; or a function of the block that returns it, None if this
            block has no such branch (a depthwise-separable block without expansion).
        shortcut: the block's attribute that is None or False if it has no shortcut; empty if it always has one.
    """

    path: str | Callable[[Any], str | None]
    shortcut: str = ""

    def has_shortcut(self, block: nn.Module) -> bool:
        """Return whether the block adds its input, or a projection of it, to the branch."""
        return not self.shortcut or getattr(block, self.shortcut) not in (None, False)


def _universal(block: Any) -> str | None:  # MobileNetV4: the depthwise start is optional
    return "pw_exp" if isinstance(block.dw_start, nn.Identity) else "dw_start"


def _rexnet(block: Any) -> str | None:
    return None if block.conv_exp is None else "conv_exp"


def _torchvision_mobilenet(block: Any) -> str | None:  # without expansion its first convolution is dropped
    return "conv.0.0" if len(block.conv) > 3 else None


_CONV1 = Branch("conv1")

_TIMM: dict[str, dict[str, Branch]] = {
    "resnet": {"BasicBlock": _CONV1, "Bottleneck": _CONV1},  # ResNeXt, wide, SE, ECA; HRNet's blocks too
    "resnetv2": {"PreActBasic": _CONV1, "PreActBottleneck": _CONV1, "Bottleneck": _CONV1},
    "res2net": {"Bottle2neck": _CONV1},
    "resnest": {"ResNestBottleneck": _CONV1},
    "sknet": {"SelectiveKernelBasic": _CONV1, "SelectiveKernelBottleneck": _CONV1},
    "senet": {"Bottleneck": _CONV1, "SEResNetBlock": _CONV1},
    "tresnet": {"BasicBlock": _CONV1, "Bottleneck": _CONV1},
    "dla": {"DlaBasic": _CONV1, "DlaBottleneck": _CONV1, "DlaBottle2neck": _CONV1},
    "cspnet": {"BottleneckBlock": _CONV1, "DarkBlock": _CONV1, "EdgeBlock": _CONV1},
    "nfnet": {"NormFreeBlock": _CONV1},
    "regnet": {
        "Bottleneck": Branch("conv1", "downsample"),  # here None means no shortcut at all
        "PreBottleneck": Branch("conv1", "downsample"),
    },
    "byobnet": {
        "BasicBlock": Branch("conv1_kxk", "shortcut"),
        "BottleneckBlock": Branch("conv1_1x1", "shortcut"),
        "DarkBlock": Branch("conv1_1x1", "shortcut"),
        "EdgeBlock": Branch("conv1_kxk", "shortcut"),
    },
    "_efficientnet_blocks": {  # MobileNetV2, V3 and V4, EfficientNet, -Lite and V2, MNASNet, HardCoReNAS
        "InvertedResidual": Branch("conv_pw", "has_skip"),
        "EdgeResidual": Branch("conv_exp", "has_skip"),
        "UniversalInvertedResidual": Branch(_universal, "has_skip"),
    },
    "rexnet": {"LinearBottleneck": Branch(_rexnet, "use_shortcut")},
    "repvit": {"RepViTBlock": Branch("channel_mixer.conv1")},
    "convnext": {"ConvNeXtBlock": Branch("conv_dw")},
    "inception_next": {"MetaNeXtBlock": Branch("token_mixer")},
    "starnet": {"Block": Branch("dwconv")},
}

_TORCHVISION: dict[str, dict[str, Branch]] = {
    "resnet": {"BasicBlock": _CONV1, "Bottleneck": _CONV1},
    "mobilenetv2": {"InvertedResidual": Branch(_torchvision_mobilenet, "use_res_connect")},
    "convnext": {"CNBlock": Branch("block.0")},
    "regnet": {"ResBottleneckBlock": Branch("f.a.0")},
}

BLOCKS: dict[str, Branch] = {
    f"{package}.{module}.{name}": branch
    for package, modules in (("timm.models", _TIMM), ("torchvision.models", _TORCHVISION))
    for module, classes in modules.items()
    for name, branch in classes.items()
}


def find_branch(block: nn.Module) -> Branch | None:
    """Return the `BLOCKS` entry of a block's class or the nearest of its parent classes."""
    for cls in type(block).__mro__:
        if branch := BLOCKS.get(f"{cls.__module__}.{cls.__qualname__}"):
            return branch
    return None


def branch_path(block: nn.Module, branch: Branch) -> str | None:
    """Return the path of the branch's first convolution, or of the module around it if there is no single one."""
    path = branch.path if isinstance(branch.path, str) else branch.path(block)
    if path is None:
        return None
    module = block.get_submodule(path)
    while not isinstance(module, nn.Conv2d):  # step into "convolution, norm, activation" containers
        inner = next((name for name in ("conv", "c") if isinstance(getattr(module, name, None), nn.Module)), None)
        if inner is None:
            break
        path, module = f"{path}.{inner}", getattr(module, inner)
    return path
