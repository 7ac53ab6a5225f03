"""Which place in which network is the entry of a residual branch: the first convolution of each known block class.

Classes are named by text, so that nothing is imported before it is met and an older library without one is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Entry:
    """Where a block's residual branch begins.

    Args:
        entry: the path, inside the block, of the first module of the branch; or None where this block has no branch
            of the kind (a depthwise-separable block without expansion).
        shortcut: whether the block adds its input, or a projection of it, to the branch.
    """

    entry: Callable[[nn.Module], str | None]
    shortcut: Callable[[nn.Module], bool]


def _at(path: str) -> Callable[[nn.Module], str | None]:
    return lambda block: path


def _always(block: nn.Module) -> bool:
    return True


def _true(name: str) -> Callable[[nn.Module], bool]:
    return lambda block: bool(getattr(block, name))


def _present(name: str) -> Callable[[nn.Module], bool]:
    return lambda block: getattr(block, name) is not None


def _universal_entry(block: nn.Module) -> str | None:  # MobileNetV4: the depthwise start is optional
    return "pw_exp" if isinstance(block.dw_start, nn.Identity) else "dw_start"


def _rexnet_entry(block: nn.Module) -> str | None:
    return None if block.conv_exp is None else "conv_exp"


def _if_longer(path: str, container: str, without_expansion: int) -> Callable[[nn.Module], str | None]:
    """torchvision drops the expanding convolution from the container where the expansion ratio is 1."""
    return lambda block: path if len(getattr(block, container)) > without_expansion else None


_CONV1 = Entry(_at("conv1"), _always)

_TIMM: dict[str, dict[str, Entry]] = {
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
        "Bottleneck": Entry(_at("conv1"), _present("downsample")),  # here None means no shortcut at all
        "PreBottleneck": Entry(_at("conv1"), _present("downsample")),
    },
    "byobnet": {
        "BasicBlock": Entry(_at("conv1_kxk"), _present("shortcut")),
        "BottleneckBlock": Entry(_at("conv1_1x1"), _present("shortcut")),
        "DarkBlock": Entry(_at("conv1_1x1"), _present("shortcut")),
        "EdgeBlock": Entry(_at("conv1_kxk"), _present("shortcut")),
    },
    "_efficientnet_blocks": {  # MobileNetV2, V3 and V4, EfficientNet, -Lite and V2, MNASNet, HardCoReNAS
        "InvertedResidual": Entry(_at("conv_pw"), _true("has_skip")),
        "EdgeResidual": Entry(_at("conv_exp"), _true("has_skip")),
        "UniversalInvertedResidual": Entry(_universal_entry, _true("has_skip")),
    },
    "rexnet": {"LinearBottleneck": Entry(_rexnet_entry, _true("use_shortcut"))},
    "repvit": {"RepViTBlock": Entry(_at("channel_mixer.conv1"), _always)},
    "convnext": {"ConvNeXtBlock": Entry(_at("conv_dw"), _always)},
    "inception_next": {"MetaNeXtBlock": Entry(_at("token_mixer"), _always)},
    "starnet": {"Block": Entry(_at("dwconv"), _always)},
}

_TORCHVISION: dict[str, dict[str, Entry]] = {
    "resnet": {"BasicBlock": _CONV1, "Bottleneck": _CONV1},
    "mobilenetv2": {"InvertedResidual": Entry(_if_longer("conv.0.0", "conv", 3), _true("use_res_connect"))},
    "convnext": {"CNBlock": Entry(_at("block.0"), _always)},
    "regnet": {"ResBottleneckBlock": Entry(_at("f.a.0"), _always)},
}

BLOCKS: dict[str, Entry] = {
    f"{package}.{module}.{name}": entry
    for package, modules in (("timm.models", _TIMM), ("torchvision.models", _TORCHVISION))
    for module, classes in modules.items()
    for name, entry in classes.items()
}


def find_entry(block: nn.Module) -> Entry | None:
    """The table's row for a block, looked up by its class and then by its parents."""
    for cls in type(block).__mro__:
        entry = BLOCKS.get(f"{cls.__module__}.{cls.__qualname__}")
        if entry is not None:
            return entry
    return None


def entry_path(block: nn.Module, entry: Entry) -> str | None:
    """The path of the branch's first convolution; of the module that stands for it where there is no single one."""
    path = entry.entry(block)
    if path is None:
        return None
    module = block.get_submodule(path)
    while not isinstance(module, nn.Conv2d):  # step into "convolution, norm, activation" containers
        inner = next((name for name in ("conv", "c") if isinstance(getattr(module, name, None), nn.Module)), None)
        if inner is None:
            break
        path, module = f"{path}.{inner}", getattr(module, inner)
    return path
