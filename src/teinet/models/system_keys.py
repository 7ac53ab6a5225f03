"""Translate public checkpoints of the systems that TEINet is compared with; the keys tell the project and the network.

SlowFast's torch and Caffe2 files (facebookresearch/SlowFast), those of non-local networks
(facebookresearch/video-nonlocal-net) and of R(2+1)D (facebookresearch/VMZ), pytorchvideo
(facebookresearch/pytorchvideo), MMAction2's 3-D networks and TRN (open-mmlab/mmaction2), torchvision and IG-65M's
ports (moabitcoin/ig65m-pytorch), I3D's ports (piergiaj/pytorch-i3d, hassony2/kinetics_i3d_pytorch), S3D
(kylemin/S3D), TRN and TSN on BNInception (metalbubble/TRN-pytorch), ECO (mzolfaghari/ECO-pytorch,
mzolfaghari/ECO-efficient-video-understanding), ARTNet (wanglimin/ARTNet) and P3D (qijiezhao/pseudo-3d-pytorch).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from teinet.errors import CheckpointError, ConfigError
from teinet.models.checkpoint_keys import PROJECTS, find_modality, find_resnet
from teinet.models.factory import create_model
from teinet.models.systems.table import SYSTEMS, Channels
from teinet.models.weights import some

Rename = Callable[[str], str]
Adapt = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A project's checkpoints.

    Args:
        title: for messages.
        mark: a pattern of a key that only they have.
        networks: that it may hold, in the order in which they are tried.
        rename: maps a key to ours, or to an empty text where it is no weight.
        adapt: changes the renamed weights where a new name is not enough.
        stems: our keys of the first convolutions, where the project's images are BGR.
        pixels: mean and std of its images, where they are not the network's own.
        marked: dimensions of the weight that `mark` finds, where 2-D networks of the project have its name too.
        refused: why none of our networks can hold its weights.
        alike: why no key tells which of the networks it is, where that is so; the user names it.
        note: how our network differs.
    """

    title: str
    mark: str
    networks: tuple[str, ...] = ()
    rename: Rename = str
    adapt: Adapt = dict
    stems: tuple[str, ...] = ()
    pixels: tuple[Channels, Channels] | None = None
    marked: int | None = None
    refused: str = ""
    alike: str = ""
    note: str = ""


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
slowfast_torch_key = _replace(
    (r"^s1\.pathway0_stem\.(conv|bn)", r"slow.\g<1>1"), (r"^s1\.pathway1_stem\.(conv|bn)", r"fast.\g<1>1"),
    (r"^s(\d)_fuse\.conv_f2s", r"lateral.stage\1.0"), (r"^s(\d)_fuse\.bn", r"lateral.stage\1.1"),
    *((rf"^s{i + 1}\.pathway0_nonlocal(\d+)\.(?:conv_)?", rf"slow.layer{i}.\1_nl.") for i in range(1, 5)),
    *((rf"^s{i + 1}\.pathway0_res", f"slow.layer{i}.") for i in range(1, 5)),
    *((rf"^s{i + 1}\.pathway1_res", f"fast.layer{i}.") for i in range(1, 5)),
    (r"branch1_bn", "downsample.1"), (r"branch1\.", "downsample.0."),
    *((rf"branch2\.{letter}_bn", f"bn{i}") for i, letter in enumerate("abc", 1)),
    *((rf"branch2\.{letter}\.", f"conv{i}.") for i, letter in enumerate("abc", 1)),
    (r"^head\.projection", "fc"),
)  # fmt: skip
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


def caffe2_r2plus1d_key(key: str) -> str:
    """Return our key of a blob of VMZ's R(2+1)D of 34 layers, whose blocks are numbered through."""
    if key.endswith("_momentum") or (parts := re.fullmatch(r"(.+)_(w|b|s|rm|riv)", key)) is None:
        return ""
    place, leaf = parts[1], _CAFFE2_LEAVES[parts[2]]
    if re.fullmatch(r"last_out_L\d+", place):
        return f"fc.{leaf}"
    if found := re.fullmatch(r"conv1(_middle)?(_spatbn_relu)?", place):
        return f"stem.{3 * (not found[1]) + bool(found[2])}.{leaf}"
    if found := re.fullmatch(r"shortcut_projection_(\d+)(_spatbn)?", place):
        inner = f"downsample.{int(bool(found[2]))}"
    elif found := re.fullmatch(r"comp_(\d+)_(conv|spatbn)_([12])(_middle)?", place):
        layer = {"conv": "0.0", "spatbn": "0.1"} if found[4] else {"conv": "0.3", "spatbn": "1"}
        inner = f"conv{found[3]}.{layer[found[2]]}"
    else:
        return key
    stage = sum(int(found[1]) >= first for first in (3, 7, 13))
    return f"layer{stage + 1}.{int(found[1]) - (0, 3, 7, 13)[stage]}.{inner}.{leaf}"


def mmaction_key(key: str) -> str:
    """Return our key of a weight of MMAction2's networks; its own where there is none."""
    if found := re.fullmatch(r"backbone\.slow_path\.(?:conv1|layer(\d))_lateral\.(conv|bn)\.(\w+)", key):
        return f"lateral.stage{int(found[1] or 0) + 1}.{('conv', 'bn').index(found[2])}.{found[3]}"
    if found := re.match(r"backbone\.(slow|fast)_path\.", key):
        return f"{found[1]}.{mmaction_key(key.replace(found[0], 'backbone.'))}"
    if key.startswith("cls_head.consensus."):
        return key.removeprefix("cls_head.")
    return PROJECTS["mmaction"].resnet(key) or key


def _slow_first(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move the fast path's 256 columns of the head behind the slow path's."""
    return {key: value.roll(-256, 1) if key == "fc.weight" else value for key, value in ours.items()}


_ARTNET_SMART = ("conv1", *(f"body.res{stage}{block}_2" for stage in (2, 3, 4) for block in "ab"))
_ARTNET = _replace(
    (r"^(res[234]._2)_t\b", r"body.\1.relation"), (r"^(res[234]._2)_t_bn", r"body.\1.relation_bn"),
    (r"^(res[234]._2)\b", r"body.\1.appearance"), (r"^(res[234]._2)_bn", r"body.\1.appearance_bn"),
    (r"^conv1_t\b", "conv1.relation"), (r"^conv1_t_bn", "conv1.relation_bn"),
    (r"^conv1\.(?=weight)", "conv1.appearance."), (r"^conv1_bn", "conv1.appearance_bn"),
    (r"^redu1_bn", "conv1_bn"), (r"^res", "body.res"), (r"^fc[\w-]*", "fc"),
    *((rf"^redu{i + 1}\b", f"{block}.reduction") for i, block in enumerate(_ARTNET_SMART)),
    *((rf"^pooling{i + 1}(?=_bn|\.)", f"{block}.pooling") for i, block in enumerate(_ARTNET_SMART)),
)  # fmt: skip


def _without_halves(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out ARTNet's pooling over pairs of channels, whose weights are fixed."""
    return {k: v for k, v in ours.items() if not (k.endswith(".pooling.weight") and bool((v == 0.5).all()))}


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
    (r"^base\.", "features."), (r"branch0\.0\.", "branch0."), (r"^fc\.0", "classifier.1"), (r"conv_s", "0.0"),
    (r"bn_s", "0.1"), (r"conv_t", "1.0"),
    (r"bn_t", "1.1"), (r"\.conv\.", ".0."), (r"\.bn\.", ".1."),
)  # fmt: skip
_CAFFE_FAMILY = _replace((r"^base_model\.", ""), (r"^new_fc", "fc"))
_ECO_CAFFE = _replace(
    (r"/", "_"), (r"^(conv|inception)", r"base_model.\1"), (r"^res3a_2n", "res3a_2"), (r"^(res3b|res[45])", r"body.\1"),
    (r"^fc8\w*", "fc"),
)  # fmt: skip
_ECO = _replace((r"^base_model\.(res3a_)", r"\1"), (r"^base_model\.(res\d)", r"body.\1"), (r"^new_fc", "fc"))
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SLOWFAST = tuple(name for name, system in SYSTEMS.items() if system.home[1] == "SlowFast")

ORIGINS = {
    "pytorchvideo-slowfast": Origin(
        title="pytorchvideo", mark=r"blocks\.0\.multipathway_blocks\.0\.conv\.weight", networks=_SLOWFAST,
        rename=slowfast_key,
    ),
    "slowfast": Origin(
        title="SlowFast's own", mark=r"t_pool1_subsample_w", networks=_SLOWFAST, rename=caffe2_slowfast_key
    ),
    "slowfast-torch": Origin(
        title="SlowFast's own", mark=r"s1\.pathway1_stem\.conv\.weight", networks=_SLOWFAST, rename=slowfast_torch_key
    ),
    "slowfast-torch-i3d": Origin(
        title="SlowFast's own", mark=r"s1\.pathway0_stem\.conv\.weight",
        networks=("i3d_resnet50_8x8", "nl_i3d_resnet50_8x8"),
        rename=lambda key: slowfast_torch_key(key).removeprefix("slow."),
    ),
    "nonlocal": Origin(
        title="video-nonlocal-net or SlowFast's own I3D", mark=r"res_conv1_bn_rm",
        networks=(
            "i3d_resnet50", "nl_i3d_resnet50", "nl_i3d_resnet101", "i3d_resnet50_8x8", "nl_i3d_resnet50_8x8",
        ),
        rename=lambda key: caffe2_slowfast_key(key).removeprefix("slow."),
        alike="video-nonlocal-net's files of 32x2 are i3d_resnet50 or nl_i3d_resnet50 (nl_i3d_resnet101), SlowFast's "
        "of 8x8 end in _8x8, and video-nonlocal-net's of 8x8 and 32x4 are none of them",
    ),
    "nonlocal-frozen": Origin(
        title="video-nonlocal-net", mark=r"res_conv1_bn_s",
        refused="its norms are frozen (files of 128x1 and 32x4), which is not supported",
    ),
    "vmz": Origin(
        title="VMZ", mark=r"comp_0_conv_1_middle_w", networks=("r2plus1d_34",), rename=caffe2_r2plus1d_key
    ),
    "mmaction-r2plus1d": Origin(
        title="MMAction2", mark=r"backbone\.conv1\.conv\.conv_s\.weight",
        refused="its R(2+1)D has another stem, and a pool behind it",
    ),
    "mmaction-slowfast": Origin(
        title="MMAction2", mark=r"backbone\.slow_path\.conv1_lateral\.bn\.weight", networks=_SLOWFAST,
        rename=mmaction_key, adapt=_slow_first, pixels=_IMAGENET,
        note="MMAction2's slow path takes the first of every 4 or 8 frames; here it takes frames from the first to the "
        "last, as in SlowFast's code",
    ),
    "mmaction-slowfast-plain": Origin(
        title="MMAction2", mark=r"backbone\.slow_path\.conv1\.conv\.weight",
        refused="its lateral connections have no norm and no ReLU",
    ),
    "mmaction-nonlocal": Origin(
        title="MMAction2", mark=r"backbone\.layer\d\.\d+\.non_local_block\.g\..*",
        refused="its non-local blocks pool behind their convolutions, and no key tells how they weight positions",
    ),
    "mmaction-i3d": Origin(
        title="MMAction2", mark=r"backbone\.conv1\.conv\.weight", marked=5, networks=("i3d_resnet50_mmaction",),
        rename=mmaction_key, pixels=_IMAGENET,
    ),
    "mmaction-trn": Origin(
        title="MMAction2", mark=r"cls_head\.consensus\.fc_fusion_scales\.0\.1\.weight", networks=("trn_resnet50",),
        rename=mmaction_key,
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
    "s3d-howto100m": Origin(
        title="S3D_HowTo100M", mark=r"mixed_3b\.gating_b1\.fc\.weight",
        refused="its stem is one kernel over space and time with one norm, where s3dg's has a norm and ReLU between "
        "two, and its pools pad at the end",
    ),
    "i3d": Origin(
        title="a port of kinetics-i3d", mark=r"[Cc]onv3d_1a_7x7\.conv3d\.weight", networks=("i3d_inception_v1",),
        rename=_INCEPTION_PORT,
    ),
    "eco": Origin(
        title="ECO-pytorch", mark=r"base_model\.res3a_2\.weight", networks=("eco_lite", "eco"), rename=_ECO,
        stems=("base_model.conv1_7x7_s2.weight",),
    ),
    "eco-caffe": Origin(
        title="ECO's Caffe code", mark=r"res3a_2n\.weight", networks=("eco_lite", "eco"), rename=_ECO_CAFFE,
        stems=("base_model.conv1_7x7_s2.weight",),
    ),
    "artnet": Origin(
        title="ARTNet's Caffe code", mark=r"redu1\.weight", networks=("artnet_resnet18",), rename=_ARTNET,
        adapt=_without_halves, stems=("conv1.appearance.weight", "conv1.relation.weight"),
    ),
    "trn": Origin(
        title="TRN-pytorch", mark=r"consensus\.fc_fusion_scales\.0\.1\.weight", networks=("trn_bninception",),
        rename=_CAFFE_FAMILY, stems=("conv1_7x7_s2.weight",),
    ),
    "tsn-bninception": Origin(
        title="TSN's family", mark=r"base_model\.conv1_7x7_s2\.weight", networks=("tsn_bninception",),
        rename=_CAFFE_FAMILY, stems=("conv1_7x7_s2.weight",),
    ),
    "p3d": Origin(
        title="pseudo-3d-pytorch", mark=r"conv1_custom\.weight", networks=("p3d_199", "p3d_63"), rename=str,
        stems=("conv1_custom.weight",),
    ),
}  # fmt: skip


def find_origin(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name in `ORIGINS` of the project that a checkpoint's keys belong to; None for none of them."""
    for name, origin in ORIGINS.items():
        found = next((key for key in tensors if re.fullmatch(origin.mark, key)), None)
        if found and origin.marked in (None, tensors[found].dim()):
            return name
    return None


def translate_system(
    tensors: Mapping[str, Tensor],
    path: str | Path,
    format: str,
    *,
    num_classes: int,
    num_frames: int | None,
    model: str | None = None,
) -> Found:
    """Return a system's weights under our keys, and which network they are, by their names and shapes.

    Raises:
        CheckpointError: they fit none of the project's networks, or several, or have another number of classes.
        ConfigError: `model`, the network that the user names, is none of the project's.
    """
    origin = ORIGINS[format]
    if origin.refused:
        raise CheckpointError(f"{path}: a network of {origin.title} that cannot be converted: {origin.refused}.")
    ours = origin.adapt({ours: value for key, value in tensors.items() if (ours := origin.rename(key))})
    networks = origin.networks
    if format.endswith("trn"):
        scales = {key.split(".")[2] for key in ours if key.startswith("consensus.")}
        num_frames = len(scales) + 1
        if resnet := find_resnet(ours):
            networks = (f"trn_{resnet}",)
    if model is not None:
        if model not in networks:
            raise ConfigError(f"{path}: no {model}; its keys are those of {origin.title}: {', '.join(networks)}.")
        networks = (model,)
    for stem in origin.stems:
        if stem in ours and ours[stem].shape[1] == 3:
            ours[stem] = ours[stem].flip(1)
    modality = find_modality(ours)
    closest: tuple[int, str, list[str]] | None = None
    fits: list[Found] = []
    for network in networks:
        frames = num_frames or (SYSTEMS[network].frames if network in SYSTEMS else 8)
        with torch.device("meta"):
            net = create_model(network, num_classes=num_classes, num_frames=frames, modality=modality)
        own = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
        fitting = {
            key: value.reshape(own[key].shape)  # a last layer may be a convolution of size 1
            for key, value in ours.items()
            if key in own and value.numel() == own[key].numel() and value.shape[:2] == own[key].shape[:2]
        }
        given = [key for key in ours if not key.endswith("num_batches_tracked")]
        odd = [key for key in (*own, *given) if key not in fitting]
        if not odd:
            fits.append(Found(format, network, frames, fitting))
            if not origin.alike:
                break
        elif closest is None or len(odd) < closest[0]:
            closest = len(odd), network, odd
    if fits and (model or not origin.alike):
        return fits[0]
    if fits:
        raise CheckpointError(
            f"{path}: fits {', '.join(found.network for found in fits)}, and no key tells its strides; name it with "
            f"--model ({origin.alike})."
        )
    assert closest is not None
    _, network, odd = closest
    both = {key for key in odd if odd.count(key) == 2}  # in the file and in the network, but of other shapes
    head = next((value for key, value in ours.items() if key in both and "weight" in key and value.dim() > 1), None)
    if len(odd) <= 4 and head is not None and head.shape[0] != num_classes:
        raise CheckpointError(
            f"{path}: its head has {head.shape[0]} classes, but {num_classes} class names are given; "
            "use the list that it was trained with, in that order."
        )
    raise CheckpointError(
        f"{path}: its keys are those of {origin.title}, but its weights fit none of {', '.join(networks)}; nearest "
        f"{network}, where {some(odd)} differ."
    )
