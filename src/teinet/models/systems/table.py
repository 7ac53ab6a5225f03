"""The names of the systems that the paper compares TEINet with, what each takes, and how it is built; without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Channels = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class System:
    """One network with one answer a clip.

    Args:
        title: in words, with the paper.
        home: module in this package and class.
        options: of the class.
        frames: T.
        stride: frames of the video from one of the clip's to the next, in its authors' training; 0: spread over all.
        adjacent: frames in a row that it takes at each of the places spread over all.
        size: pixels of the square images in its authors' training (StNet: in their test).
        cost_size: pixels of the images of its published cost, where they are not those of its training.
        dropout: share of features that its authors drop before the classifier.
        trunk: the system, inside this one under the name trunk, from whose trained weights this one can start.
        pixels: mean and std per channel on the scale 0 to 1, by its authors' weights.
        images: timm's network whose ImageNet weights it starts from, with kernels repeated over time; or none.
    """

    title: str
    home: tuple[str, str]
    frames: int
    stride: int
    adjacent: int = 1
    size: int = 224
    cost_size: int | None = None
    dropout: float = 0.5
    options: dict[str, Any] = field(default_factory=dict)
    pixels: tuple[Channels, Channels] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
    images: str | None = None
    trunk: str | None = None


_CAFFE = (123 / 255, 117 / 255, 104 / 255), (1 / 255, 1 / 255, 1 / 255)  # pixels from 0 to 255
_TORCHVISION = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NON_LOCAL = {50: {3: (1, 3), 4: (1, 3, 5)}, 101: {3: (1, 3), 4: (6, 13, 20)}}  # by depth: blocks of stages
_I3D_FORMS = {
    "": (32, 2, {"stem_time": 2, "pool": ((2, 3, 3), (2, 2, 2), (0, 0, 0)), "window": 7}, "as in the non-local paper"),
    "_8x8": (8, 8, {"window": 7}, "as in SlowFast's code"),
    "_32x2": (32, 2, {"pool": ((1, 3, 3), (1, 2, 2), (0, 0, 0)), "last_stride": 1}, "as in Wang and Gupta 2018"),
    "_mmaction": (32, 2, {"stem_time": 2, "pool": ((1, 3, 3), (2, 2, 2), (0, 1, 1))}, "as in MMAction2"),
}


def _i3d(depth: int, form: str, non_local: bool) -> System:
    frames, stride, options, said = _I3D_FORMS[form]
    return System(
        title=f"{'Non-local ' * non_local}I3D on ResNet-{depth}, {said}",
        home=("resnet", "I3DResNet"),
        frames=frames,
        stride=stride,
        options={**options, "depth": depth, "non_local": _NON_LOCAL[depth] if non_local else {}},
        images=f"resnet{depth}",
        cost_size=None if form else 256,
    )


def _slowfast(title: str, frames: int, **options: Any) -> System:
    said = f"{title} (Feichtenhofer et al. 2019)"
    own = {"window": 7, **options}
    return System(title=said, home=("resnet", "SlowFast"), frames=frames, stride=2, cost_size=256, options=own)


SYSTEMS: dict[str, System] = {
    **{f"i3d_resnet50{form}": _i3d(50, form, False) for form in _I3D_FORMS},
    **{f"nl_i3d_resnet50{form}": _i3d(50, form, True) for form in ("", "_8x8", "_32x2")},
    "nl_i3d_resnet101": replace(_i3d(101, "", True), frames=128, stride=1),
    "nl_i3d_resnet50_gcn": System(
        title="Non-local I3D and graphs of boxes (Wang and Gupta 2018), from the paper's description: not exact",
        home=("gcn", "RegionGraph"), frames=32, stride=2, options=_i3d(50, "_32x2", True).options,
        trunk="nl_i3d_resnet50_32x2",
    ),
    "slowfast_resnet50_4x16": _slowfast("SlowFast 4x16", 32, alpha=8),
    "slowfast_resnet50_8x8": _slowfast("SlowFast 8x8", 32, alpha=4, lateral=7),
    "slowfast_resnet101_8x8": _slowfast("SlowFast 8x8, R101_50_50", 32, alpha=4, depth=101, temporal=6),
    "slowfast_resnet101_8x8_full": _slowfast("SlowFast 8x8, all blocks with time", 32, alpha=4, depth=101),
    "nl_slowfast_resnet50_4x16": _slowfast("Non-local SlowFast 4x16", 32, alpha=8, non_local=_NON_LOCAL[50]),
    "nl_slowfast_resnet101_16x8": _slowfast(
        "Non-local SlowFast 16x8, R101_50_50", 64, alpha=4, depth=101, temporal=6, non_local={4: (6, 13, 20)}
    ),
    "i3d_inception_v1": System(
        title="I3D on Inception-v1 (Carreira and Zisserman 2017)", home=("inception", "I3DInception"), frames=64,
        stride=1, pixels=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    "s3d": System(
        title="S3D (Xie et al. 2018), torchvision's", home=("inception", "S3D"), frames=64, stride=1,
        dropout=0.2, options={"gated": False}, pixels=_TORCHVISION,
    ),
    "s3dg": System(
        title="S3D-G (Xie et al. 2018): torchvision's S3D with gates", home=("inception", "S3D"), frames=64, stride=1,
        dropout=0.2, options={"gated": True}, pixels=_TORCHVISION,
    ),
    "r2plus1d_18": System(
        title="R(2+1)D (Tran et al. 2018), torchvision's", home=("r2plus1d", "R2Plus1D"), frames=16, stride=2, size=112,
        dropout=0.0, options={"depth": 18}, pixels=_TORCHVISION,
    ),
    "r2plus1d_34": System(
        title="R(2+1)D (Tran et al. 2018)", home=("r2plus1d", "R2Plus1D"), frames=32, stride=1, size=112,
        dropout=0.0, options={"depth": 34}, pixels=_TORCHVISION,
    ),
    "eco_lite": System(
        title="ECO Lite (Zolfaghari et al. 2018)", home=("preactivation", "ECO"), frames=16, stride=0,
        dropout=0.3, options={"full": False}, pixels=_CAFFE,
    ),
    "eco": System(
        title="ECO (Zolfaghari et al. 2018)", home=("preactivation", "ECO"), frames=16, stride=0,
        dropout=0.3, options={"full": True}, pixels=_CAFFE,
    ),
    "artnet_resnet18": System(
        title="ARTNet (Wang et al. 2018)", home=("preactivation", "ARTNet"), frames=16, stride=1, size=112,
        dropout=0.2, pixels=_CAFFE,
    ),
    "stnet_resnet50": System(
        title="StNet (He et al. 2019), 25 segments of 5 frames", home=("stnet", "StNet"), frames=125, stride=0,
        adjacent=5, size=256, cost_size=256, dropout=0.0, options={"backbone": "resnet50"}, pixels=_IMAGENET,
    ),
    "p3d_63": System(
        title="P3D (Qiu et al. 2017)", home=("p3d", "P3D"), frames=16, stride=1, size=160, options={"depth": 63},
        pixels=_CAFFE,
    ),
    "p3d_199": System(
        title="P3D (Qiu et al. 2017)", home=("p3d", "P3D"), frames=16, stride=1, size=160, options={"depth": 199},
        pixels=_CAFFE,
    ),
    "lgd_resnet50": System(
        title="LGD-3D (Qiu et al. 2019), from the paper's description: not exact", home=("p3d", "LGD"), frames=16,
        stride=1, size=112, options={"depths": (3, 4, 6, 3)},
    ),
    "lgd_resnet101": System(
        title="LGD-3D (Qiu et al. 2019), from the paper's description: not exact", home=("p3d", "LGD"), frames=128,
        stride=1, options={"depths": (3, 4, 23, 3)},
    ),
}  # fmt: skip
