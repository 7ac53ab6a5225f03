"""Translate public checkpoints of the systems that TEINet is compared with; the keys tell the project and the network.

SlowFast's Caffe2 files (facebookresearch/SlowFast), pytorchvideo (facebookresearch/pytorchvideo), torchvision and
IG-65M's ports (moabitcoin/ig65m-pytorch), I3D's ports (piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch), S3D
(kylemin/S3D), TRN and TSN on BNInception (metalbubble/TRN-pytorch), ECO (mzolfaghari/ECO-pytorch) and P3D
(qijiezhao/pseudo-3d-pytorch).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from teinet.errors import CheckpointError
from teinet.models.checkpoint_keys import find_resnet
from teinet.models.factory import create_model
from teinet.models.systems.table import SYSTEMS, Channels
from teinet.models.weights import some

Rename = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A project's checkpoints.

    Args:
        title: for messages.
        mark: a pattern of a key that only they have.
        networks: that it may hold, in the order in which they are tried.
        rename: maps a key to ours, or to an empty text where it is no weight.
        stem: our key of the first convolution, where the project's images are BGR.
        pixels: mean and std of its images, where they are not the network's own.
    """

    title: str
    mark: str
    networks: tuple[str, ...]
    rename: Rename
    stem: str | None = None
    pixels: tuple[Channels, Channels] | None = None


@dataclass(frozen=True)
class Found:
    """A checkpoint's project and network, the network's frames T, and its weights under our keys."""

    format: str
    network: str
    num_frames: int
    tensors: dict[str, Tensor]


def _replace(*pairs: tuple[str, str]) -> Rename:
    """Return a function that replaces patterns, in turn."""

    def rename(key: str) -> str:
        for pattern, ours in pairs:
            key = re.sub(pattern, ours, key)
        return key

    return rename


_BLOCK = (
    (r"branch1_conv", "downsample.0"), (r"branch1_norm", "downsample.1"),
    (r"branch2\.conv_a", "conv1"), (r"branch2\.conv_b", "conv2"), (r"branch2\.conv_c", "conv3"),
    (r"branch2\.norm_a", "bn1"), (r"branch2\.norm_b", "bn2"), (r"branch2\.norm_c", "bn3"),
)  # fmt: skip
slowfast_key = _replace(
    *_BLOCK,
    (r"multipathway_blocks\.0\.", "slow."),
    (r"multipathway_blocks\.1\.", "fast."),
    (r"^blocks\.0\.(slow|fast)\.conv", r"\1.conv1"),
    (r"^blocks\.0\.(slow|fast)\.norm", r"\1.bn1"),
    *((rf"^blocks\.{i}\.multipathway_fusion\.conv_fast_to_slow", f"lateral.stage{i + 1}.0") for i in range(4)),
    *((rf"^blocks\.{i}\.multipathway_fusion\.norm", f"lateral.stage{i + 1}.1") for i in range(4)),
    (r"^blocks\.(\d)\.(slow|fast)\.res_blocks", r"\2.layer\1"),
    (r"^blocks\.\d\.proj", "fc"),
)
i3d_key = _replace(
    *_BLOCK,
    (r"^blocks\.0\.conv", "conv1"),
    (r"^blocks\.0\.norm", "bn1"),
    (r"^blocks\.1\.res_blocks", "layer1"),  # block 2 is the pool behind it
    *((rf"^blocks\.{i + 1}\.res_blocks", f"layer{i}") for i in (2, 3, 4)),
    (r"^blocks\.\d\.proj", "fc"),
)
_CAFFE2_LEAVES = {"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"}


def caffe2_slowfast_key(key: str) -> str:
    """Return our key of a blob of SlowFast's own .pkl files; empty for those that are not weights."""
    parts = re.fullmatch(r"(t_)?(.+?)_(bn_)?(w|b|s|rm|riv)", key)
    if parts is None:
        return ""
    path, place, norm, leaf = parts[1], parts[2], bool(parts[3]), _CAFFE2_LEAVES[parts[4]]
    if place == "pred":
        return f"fc.{leaf}"
    if lateral := re.fullmatch(r"(?:pool(1)|res(\d)_\d+_branch2c_bn)_subsample", place):
        return f"lateral.stage{lateral[1] or lateral[2]}.{int(norm)}.{leaf}"
    if re.fullmatch(r"(res_)?conv1", place):
        ours = "bn1" if norm else "conv1"
    elif found := re.fullmatch(r"res(\d)_(\d+)_branch(1|2[abc])", place):
        branch = "abc".find(found[3][-1]) + 1
        kind = f"{'bn' if norm else 'conv'}{branch}" if branch else f"downsample.{int(norm)}"
        ours = f"layer{int(found[1]) - 1}.{found[2]}.{kind}"
    elif found := re.fullmatch(r"nonlocal_conv(\d)_(\d+)(?:_(theta|phi|g|out))?", place):
        ours = f"layer{int(found[1]) - 1}.{found[2]}_nl.{found[3] or 'bn'}"
    else:
        return ""
    return f"{'fast' if path else 'slow'}.{ours}.{leaf}"


_INCEPTION_PORT = _replace(
    (r"^conv3d_0c_1x1\.conv3d", "logits"),
    (r"^conv3d", "Conv3d"),
    (r"^mixed", "Mixed"),
    (r"batch3d", "bn"),
    (r"branch_0", "b0"),
    *((rf"branch_{i}\.{j}", f"b{i}{letter}") for i in (1, 2) for j, letter in enumerate("ab")),
    (r"branch_3\.1", "b3b"),
    (r"^logits\.conv3d", "logits"),
)
_S3D_PORT = _replace(
    (r"^base\.", "features."), (r"^fc\.0", "classifier.1"), (r"conv_s", "0.0"), (r"bn_s", "0.1"), (r"conv_t", "1.0"),
    (r"bn_t", "1.1"), (r"\.conv\.", ".0."), (r"\.bn\.", ".1."),
)  # fmt: skip
_CAFFE_FAMILY = _replace((r"^base_model\.", ""), (r"^new_fc", "fc"))
_ECO = _replace((r"^base_model\.(res3a_)", r"\1"), (r"^base_model\.(res\d)", r"body.\1"), (r"^new_fc", "fc"))
_SLOWFAST = tuple(name for name, system in SYSTEMS.items() if system.home[1] == "SlowFast")

ORIGINS = {
    "pytorchvideo-slowfast": Origin(
        title="pytorchvideo", mark=r"blocks\.0\.multipathway_blocks\.0\.conv\.weight", networks=_SLOWFAST,
        rename=slowfast_key,
    ),
    "slowfast": Origin(
        title="SlowFast's own", mark=r"t_pool1_subsample_w", networks=_SLOWFAST, rename=caffe2_slowfast_key
    ),
    "pytorchvideo-i3d": Origin(
        title="pytorchvideo", mark=r"blocks\.1\.res_blocks\.0\.branch2\.conv_a\.weight", networks=("i3d_resnet50_8x8",),
        rename=i3d_key,
    ),
    "r2plus1d": Origin(
        title="torchvision or IG-65M's port", mark=r"layer1\.0\.conv1\.0\.3\.weight",
        networks=("r2plus1d_18", "r2plus1d_34"), rename=str,
    ),
    "torchvision-s3d": Origin(
        title="torchvision", mark=r"features\.0\.0\.0\.weight", networks=("s3d", "s3dg"), rename=str
    ),
    "s3d": Origin(
        title="kylemin/S3D", mark=r"base\.0\.conv_s\.weight", networks=("s3d",), rename=_S3D_PORT,
        pixels=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    "i3d": Origin(
        title="a port of kinetics-i3d", mark=r"[Cc]onv3d_1a_7x7\.conv3d\.weight", networks=("i3d_inception_v1",),
        rename=_INCEPTION_PORT,
    ),
    "eco": Origin(
        title="ECO-pytorch", mark=r"base_model\.res3a_2\.weight", networks=("eco_lite", "eco"), rename=_ECO,
        stem="base_model.conv1_7x7_s2.weight",
    ),
    "trn": Origin(
        title="TRN-pytorch", mark=r"consensus\.fc_fusion_scales\.0\.1\.weight", networks=("trn_bninception",),
        rename=_CAFFE_FAMILY, stem="conv1_7x7_s2.weight",
    ),
    "tsn-bninception": Origin(
        title="TSN's family", mark=r"base_model\.conv1_7x7_s2\.weight", networks=("tsn_bninception",),
        rename=_CAFFE_FAMILY, stem="conv1_7x7_s2.weight",
    ),
    "p3d": Origin(
        title="pseudo-3d-pytorch", mark=r"conv1_custom\.weight", networks=("p3d_199", "p3d_63"), rename=str,
        stem="conv1_custom.weight",
    ),
}  # fmt: skip


def find_origin(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name in `ORIGINS` of the project that a checkpoint's keys belong to; None for none of them."""
    keys = "\n".join(tensors)
    return next((name for name, s in ORIGINS.items() if re.search(f"^{s.mark}$", keys, re.MULTILINE)), None)


def translate_system(
    tensors: Mapping[str, Tensor], path: str | Path, format: str, *, num_classes: int, num_frames: int | None
) -> Found:
    """Return a system's weights under our keys, and which network they are, by their names and shapes.

    Raises:
        CheckpointError: they fit none of the project's networks, or have another number of classes.
    """
    origin = ORIGINS[format]
    ours = {ours: value for key, value in tensors.items() if (ours := origin.rename(key))}
    networks = origin.networks
    if format == "trn":
        scales = {key.split(".")[2] for key in ours if key.startswith("consensus.")}
        num_frames = len(scales) + 1
        if resnet := find_resnet(ours):
            networks = (f"trn_{resnet}",)
    if origin.stem in ours:
        ours[origin.stem] = ours[origin.stem].flip(1)
    closest: tuple[int, str, list[str]] | None = None
    for network in networks:
        frames = num_frames or (SYSTEMS[network].frames if network in SYSTEMS else 8)
        with torch.device("meta"):
            model = create_model(network, num_classes=num_classes, num_frames=frames)
        own = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
        fitting = {
            key: value.reshape(own[key].shape)  # a last layer may be a convolution of size 1
            for key, value in ours.items()
            if key in own and value.numel() == own[key].numel() and value.shape[:2] == own[key].shape[:2]
        }
        given = [key for key in ours if not key.endswith("num_batches_tracked")]
        odd = [key for key in (*own, *given) if key not in fitting]
        if not odd:
            return Found(format, network, frames, fitting)
        if closest is None or len(odd) < closest[0]:
            closest = len(odd), network, odd
    assert closest is not None
    _, network, odd = closest
    head = next((value for key, value in ours.items() if key in odd and "weight" in key and value.dim() > 1), None)
    if len(odd) <= 4 and head is not None and head.shape[0] != num_classes:
        raise CheckpointError(
            f"{path}: its head has {head.shape[0]} classes, but {num_classes} class names are given; "
            "use the list that it was trained with, in that order."
        )
    raise CheckpointError(
        f"{path}: its keys are those of {origin.title}, but its weights fit none of {', '.join(networks)}; nearest "
        f"{network}, where {some(odd)} differ."
    )
