"""BNInception, the backbone of TSN, TRN and ECO: Ioffe and Szegedy, arXiv 1502.03167.

In the form that TSN's authors converted from Caffe, under their keys (yjxiong/tensorflow-model-zoo.torch): convolutions
have a bias, pools round up, and weights expect pixels from 0 to 255 less a mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (128 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3
# Block, then the widths of: 1x1; 3x3 reduction and 3x3; double 3x3 reduction and both 3x3; pool's projection.
_BLOCKS = {
    "3a": (64, (64, 64), (64, 96), 32),
    "3b": (64, (64, 96), (64, 96), 64),
    "3c": (0, (128, 160), (64, 96), 0),  # without a first and a last branch: stride 2
    "4a": (224, (64, 96), (96, 128), 128),
    "4b": (192, (96, 128), (96, 128), 128),
    "4c": (160, (128, 160), (128, 160), 128),
    "4d": (96, (128, 192), (160, 192), 128),
    "4e": (0, (128, 192), (192, 256), 0),
    "5a": (352, (192, 320), (160, 224), 128),
    "5b": (352, (192, 320), (192, 224), 128),
}
_MAXIMUM = ("3c", "4e", "5b")  # blocks whose pool takes the maximum


class BNInception(nn.Module):
    """A 2-D network of 1024 features: images (N, 3, H, W) to (N, num_classes).

    Args:
        num_classes: 0 gives the pooled features.
        drop_rate: dropout before the head.
    """

    def __init__(self, num_classes: int = 1000, drop_rate: float = 0.0):
        super().__init__()
        self.pretrained_cfg = {"mean": MEAN, "std": STD, "interpolation": "bilinear", "input_size": (3, 224, 224)}
        self.num_features = 1024
        self._add("conv1_7x7_s2", 3, 64, 7, 2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        inner = 192
        for name, (one, (reduce, three), (reduce2, double), projection) in _BLOCKS.items():
            start, stride = f"inception_{name}", 1 if one else 2
            if one:
                self._add(f"{start}_1x1", inner, one, 1)
                self._add(f"{start}_pool_proj", inner, projection, 1)
            self._add(f"{start}_3x3_reduce", inner, reduce, 1)
            self._add(f"{start}_3x3", reduce, three, 3, stride)
            self._add(f"{start}_double_3x3_reduce", inner, reduce2, 1)
            self._add(f"{start}_double_3x3_1", reduce2, double, 3)
            self._add(f"{start}_double_3x3_2", double, double, 3, stride)
            inner = one + three + double + (projection if one else inner)
        self.dropout = nn.Dropout(drop_rate)
        self.fc = nn.Linear(inner, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, num_classes)."""
        return self.fc(self.dropout(self.forward_features(x).mean(dim=(2, 3))))

    def forward_features(self, x: Tensor, first: str = "3a", last: str = "5b") -> Tensor:
        """Return the feature map behind block `last`, of images, or with another `first` of its input."""
        if first == "3a":
            x = self.stem(x)
        names = list(_BLOCKS)
        for name in names[names.index(first) : names.index(last) + 1]:
            x = self.block(name, x)
        return x

    def stem(self, x: Tensor) -> Tensor:
        """Return the 192 channels in front of the first block."""
        x = F.max_pool2d(self.apply_conv("conv1_7x7_s2", x), 3, 2, ceil_mode=True)
        x = self.apply_conv("conv2_3x3", self.apply_conv("conv2_3x3_reduce", x))
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def apply_conv(self, name: str, x: Tensor) -> Tensor:
        """Return ReLU of the norm of a convolution, by its name."""
        return torch.relu_(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))

    def begin_double(self, name: str, x: Tensor) -> Tensor:
        """Return what the first two convolutions of a block's double branch give."""
        start = f"inception_{name}_double_3x3"
        return self.apply_conv(f"{start}_1", self.apply_conv(f"{start}_reduce", x))

    def block(self, name: str, x: Tensor, double: Tensor | None = None) -> Tensor:
        """Return the output of a block; `double` is what `begin_double` gave, if it was called before."""
        start, strided = f"inception_{name}", not _BLOCKS[name][0]
        three = self.apply_conv(f"{start}_3x3", self.apply_conv(f"{start}_3x3_reduce", x))
        double = self.begin_double(name, x) if double is None else double
        double = self.apply_conv(f"{start}_double_3x3_2", double)
        if strided:
            return torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], dim=1)
        pooled = F.max_pool2d(x, 3, 1, 1) if name in _MAXIMUM else F.avg_pool2d(x, 3, 1, 1)
        pooled = self.apply_conv(f"{start}_pool_proj", pooled)
        return torch.cat([self.apply_conv(f"{start}_1x1", x), three, double, pooled], dim=1)

    def _add(self, name: str, inner: int, outer: int, kernel: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(inner, outer, kernel, stride, kernel // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outer))


def from_caffe(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ImageNet weights of TSN's authors for RGB: their norms are (1, C), and their first kernel takes BGR.

    Weights in another form, such as those of this class, stay as they are.
    """
    norm = tensors.get("conv1_7x7_s2_bn.weight")
    if norm is None or norm.dim() == 1:
        return dict(tensors)
    found = {key: value.flatten() if "_bn." in key else value for key, value in tensors.items()}
    return {key: value.flip(1) if key == "conv1_7x7_s2.weight" else value for key, value in found.items()}


def bninception(pretrained: bool = False, num_classes: int = 1000, drop_rate: float = 0.0, **_: Any) -> BNInception:
    """Return BNInception as timm makes networks; there are no weights to download."""
    return BNInception(num_classes, drop_rate)
