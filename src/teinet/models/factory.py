"""Models by name, a temporal module's prefix and timm's name of the backbone: `teinet_resnet50`, `tsm_resnet18`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import timm.models
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from teinet import layers
from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.layers.motion_pool import MotionPool
from teinet.models.classifier import VideoClassifier, find_head
from teinet.models.consensus import PARTS, RELATION_WIDTH, Consensus, Relation, Subsets, TemporalHead, xception_head
from teinet.models.hub import unreachable
from teinet.models.insertion import ALL_STAGES, insert_temporal, put_before, undisturbed
from teinet.models.names import PREFIXES, no_backbone, prefix_of, unknown_model
from teinet.models.systems.bninception import bninception, from_caffe
from teinet.models.systems.create import build_system, inflate
from teinet.models.systems.table import SYSTEMS
from teinet.models.weights import load_fitting, read_checkpoint

FLOW_CHANNELS = 10  # x and y of five fields
WITH_BOXES = "nl_i3d_resnet50_gcn"
_BUILT_IN = {*PREFIXES.values(), *(prefix.rstrip("_") for prefix in PREFIXES)}

_SEE_MOTION = ("motion", "temporal", "difference", "temporal_difference")  # of a network's last feature maps
_NO_MAPS = "heads that see motion need them, so take another network, or consensus average."

log = logging.getLogger("teinet")
timm.models.register_model(bninception)


def create_model(
    name: str,
    *,
    num_classes: int,
    num_frames: int | None = None,
    pretrained: bool = False,
    backbone_weights: str | Path | None = None,
    dropout: float = 0.5,
    stages: Iterable[int] = ALL_STAGES,
    shortcut_only: bool = True,
    every: int = 1,
    causal: bool = False,
    modality: Literal["rgb", "flow"] = "rgb",
    consensus: Consensus | None = None,
    subsets: Subsets | None = None,
    boxes: Literal["detector", "grid"] | None = None,
    **temporal_options: Any,
) -> VideoClassifier:
    """Return the model `name`, on the CPU in training mode: timm's backbone with temporal modules and a head.

    Args:
        name: a prefix (teinet_, tim_, mem_, se_tim_, se_, tsm_; tsn_ and trn_ insert nothing) and timm's name of the
            backbone; or one of `models.systems.table.SYSTEMS`, such as slowfast_resnet50_4x16.
        num_classes: of the head, at least 1.
        num_frames: T, at least 1; None is 8, or what the system takes.
        pretrained: start from the backbone's ImageNet weights, downloaded by timm.
        backbone_weights: start from a local file instead (.safetensors, or .pth and the like) under timm's keys, or
            a system's own.
        dropout: before the head, in [0, 1).
        causal: the form for live video, in which a frame sees itself and earlier ones only (`Recognizer.stream`).
        modality: "flow" for frames of optical flow: five pairs of its x and y, ten channels. The first kernel is then
            the mean of the RGB kernel's channels, ten times. Source: TSN's and TSM's `_construct_flow_model`.
        consensus: how frames become one answer. "average": the mean of their logits; "motion": the same, of features
            that hold what changed since the frame before, see `MotionPool`; "temporal": a linear layer on these
            features in their order; "difference" and "temporal_difference": the same two, of the frames and of their
            differences from the frame before, which the network sees as well, at twice the cost; TRN's "relation";
            StNet's "xception". None is the relation with trn_, else the average.
        subsets: of the relation, see `Relation`; None is 3.
        boxes: of nl_i3d_resnet50_gcn, in each second frame: those that torchvision's "detector" finds, whose weights
            are downloaded at the first clip, or a fixed "grid"; None is the detector.
        stages, shortcut_only, every, temporal_options: see `insert_temporal`.

    Returns:
        The model: clips (B, T, 3, H, W), of flow (B, T, 10, H, W), uint8 or normalized floats, to logits
        (B, num_classes).

    Raises:
        ConfigError: a name or option that does not exist, or a value out of its range.
        CheckpointError: weights that do not fit or cannot be downloaded.
    """
    if name in SYSTEMS:
        given = {"stages": tuple(stages) != ALL_STAGES, "shortcut_only": not shortcut_only, "every": every != 1}
        given |= {"causal": causal, "consensus": consensus, "subsets": subsets, **temporal_options}
        if own := [option for option, is_given in given.items() if is_given]:
            said = "has no temporal modules to insert and one way to answer"
            raise ConfigError(f"{name} {said}; leave out {', '.join(own)}.")
    if boxes is not None and (name != WITH_BOXES or boxes not in ("detector", "grid")):
        raise ConfigError(f"boxes must be detector or grid, of {WITH_BOXES} alone; got {boxes!r} for {name}.")
    if modality not in ("rgb", "flow"):
        raise ConfigError(f"modality is {modality!r}; it must be rgb or flow.")
    if modality == "flow" and (name in SYSTEMS or causal):
        what = "the causal form is for live video" if causal else f"{name} takes RGB frames"
        raise ConfigError(f"{what}; optical flow is for 2-D networks of timm with a prefix, such as tsm_resnet50.")
    temporal, backbone = split_name(name)
    num_frames = num_frames or (SYSTEMS[name].frames if name in SYSTEMS else 8)
    if num_classes < 1:
        raise ConfigError(f"num_classes must be at least 1, got {num_classes}.")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be in [0, 1), got {dropout}.")
    if pretrained and backbone_weights is not None:
        raise ConfigError("pretrained and backbone_weights both give the backbone's weights: choose one.")
    config = {"name": name, "num_classes": num_classes, "num_frames": num_frames, "dropout": dropout}
    if name in SYSTEMS:
        return _create_system(config | ({"boxes": boxes} if boxes else {}), pretrained, backbone_weights)
    placing = {"stages": list(stages), "shortcut_only": shortcut_only, "every": every, "causal": causal}
    ends = {"consensus": consensus, "subsets": subsets}
    kind = _consensus_of(name, consensus, subsets, causal)
    width, drop = RELATION_WIDTH if kind == "relation" else num_classes, dropout
    if kind not in ("average", "relation"):  # it is the new head's own
        drop = 0.0
    cnn = _create_backbone(backbone, pretrained, num_classes=width, drop_rate=drop)
    _start_head(cnn, backbone, width, pretrained, backbone_weights, stays=kind in ("average", "relation"))
    whole: nn.Module | None = None
    if kind == "relation":
        whole = Relation(num_frames, num_classes, subsets=3 if subsets is None else subsets)
    elif kind == "xception":
        name_of_head, head = find_head(cnn)
        whole = xception_head(next(head.parameters()).shape[1], num_classes, dropout)
        _start_small(whole[-1])
        cnn.set_submodule(name_of_head, nn.Identity())
    head_name, channels = _drop_pooling(cnn) if kind in _SEE_MOTION else ("", 0)
    pixels = resolve_model_data_config(cnn)
    if modality == "flow":
        pixels |= _take_flow(cnn, pixels["std"])
        config["modality"] = modality
    insert_temporal(cnn, temporal, num_frames=num_frames, **placing, **temporal_options)
    if channels:  # after the temporal modules of blocks, of which the network must have none before
        last = nn.Linear(3 * channels, num_classes) if kind == "motion" else nn.Identity()
        _start_small(last)
        drop = dropout if kind == "motion" else 0.0
        put_before(last, MotionPool(channels, num_frames=num_frames, causal=causal, dropout=drop))
        cnn.set_submodule(head_name, last)
    differences = kind.endswith("difference")
    if channels and kind != "motion":
        parts = PARTS if kind.startswith("temporal") else 1
        whole = TemporalHead((6 if differences else 3) * channels, num_classes, parts=parts, dropout=dropout)
        _start_small(whole)
    return VideoClassifier(
        cnn,
        num_frames=num_frames,
        mean=pixels["mean"],
        std=pixels["std"],
        interpolation="bilinear" if pixels["interpolation"] == "bilinear" else "bicubic",
        config={**config, **placing, **{k: v for k, v in ends.items() if v is not None}, **temporal_options},
        consensus=whole,
        sees_differences=differences,
    )


def _consensus_of(name: str, consensus: Consensus | None, subsets: Subsets | None, causal: bool) -> Consensus:
    """Return the consensus of a network of timm; ConfigError for a choice that its name or another one rules out."""
    kinds = get_args(Consensus)
    if consensus not in (None, *kinds):
        raise ConfigError(f"consensus must be one of {', '.join(kinds)}, got {consensus!r}.")
    own = "relation" if name.startswith("trn_") else "average"
    if own == "relation" and consensus not in (None, own):
        other = "tsn_" + name.removeprefix("trn_")
        raise ConfigError(f"{name} has the consensus relation; for {consensus} take {other}.")
    kind = consensus or own
    if causal and kind not in ("average", "motion", "difference"):
        raise ConfigError(f"consensus {kind} has no causal form: it looks at all frames of a clip.")
    if subsets is not None and kind != "relation":
        raise ConfigError(f"subsets are those of consensus relation, and {name} has consensus {kind}; leave them out.")
    return kind


def _drop_pooling(cnn: Any) -> tuple[str, int]:
    """Make a network give its last feature maps in place of logits; return its head's name and their channels."""
    head_name, head = find_head(cnn)
    channels = next(head.parameters()).shape[1]
    try:
        cnn.reset_classifier(0, "")
        with undisturbed(cnn):
            maps = cnn(torch.zeros(1, 3, 64, 64))
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{type(cnn).__name__} does not give its last feature maps ({error}); {_NO_MAPS}") from error
    if maps.dim() != 4 or maps.shape[1] != channels or not isinstance(cnn.get_submodule(head_name), nn.Identity):
        raise ConfigError(f"{type(cnn).__name__} has layers between its last feature maps and its head; {_NO_MAPS}")
    return head_name, channels


def _take_flow(cnn: nn.Module, std: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """Make the first convolution take optical flow, in place; return the flow's mean and std per channel.

    Source: TSN's and TSM's models.py: mean 0.5, and the mean of the RGB channels' std (0.226 of ImageNet's).
    """
    first = next((module for module in cnn.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.weight.shape[1] != 3:
        raise ConfigError(f"{type(cnn).__name__} does not begin with a convolution of RGB, which flow would replace.")
    kernel = first.weight.detach().mean(1, keepdim=True)
    first.weight = nn.Parameter(kernel.repeat(1, FLOW_CHANNELS, 1, 1))
    first.in_channels = FLOW_CHANNELS
    return {"mean": (0.5,) * FLOW_CHANNELS, "std": (sum(std) / len(std),) * FLOW_CHANNELS}


def _create_backbone(backbone: str, pretrained: bool, **how: Any) -> nn.Module:
    """Return timm's network, with its ImageNet weights if asked for; CheckpointError if they cannot be downloaded."""
    if pretrained and backbone == "bninception":
        raise ConfigError(
            "bninception has no weights to download: give a file (backbone_weights=, --backbone-weights "
            "bn_inception-9f5701afb96c8044.pth), or start from random weights (pretrained=False, --model.pretrained "
            "false)."
        )
    if pretrained:
        _refuse_without_network(backbone)
        log.info("%s: downloading its ImageNet weights, unless they are cached", backbone)
    try:
        return timm.create_model(backbone, pretrained=pretrained, **how)
    except Exception as error:
        if not pretrained:
            raise
        # the hub's client, its transport and timm each raise kinds of their own
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise _download_error(backbone, reason) from error


def _create_system(config: dict[str, Any], pretrained: bool, backbone_weights: str | Path | None) -> VideoClassifier:
    """Return one of the systems that TEINet is compared with, by the arguments in `config`."""
    name, num_classes = config["name"], config["num_classes"]
    system = SYSTEMS[name]
    if pretrained and not system.images:
        raise ConfigError(
            f"{name} has no ImageNet weights to start from: train it from random weights (pretrained=False, "
            "--model.pretrained false), or convert its authors' weights (teinet convert) and fine-tune those."
        )
    net = build_system(**config)
    if pretrained:
        assert system.images is not None
        images = _create_backbone(system.images, True, num_classes=0)
        inflate(net, images.state_dict(), source=f"the weights of {system.images}")
    _start_head(net, name, num_classes, False, backbone_weights)
    return VideoClassifier(
        net, num_frames=config["num_frames"], mean=system.pixels[0], std=system.pixels[1], config=config
    )


def _download_error(backbone: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the ImageNet weights of {backbone} could not be downloaded ({reason}). Without a connection, pass a file "
        "(backbone_weights=, --backbone-weights FILE), or start from random weights (pretrained=False, "
        "--model.pretrained false)."
    )


def _refuse_without_network(backbone: str) -> None:
    """Raise CheckpointError if weights must be downloaded and the hub is unreachable; it would try for a minute."""
    import huggingface_hub

    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id or huggingface_hub.constants.HF_HUB_OFFLINE:
        return
    files = (config.hf_hub_filename or "model.safetensors", "pytorch_model.bin")
    if any(isinstance(huggingface_hub.try_to_load_from_cache(config.hf_hub_id, name), str) for name in files):
        return
    if reason := unreachable():
        raise _download_error(backbone, reason)


def register_temporal(name: str, layer: Callable[..., nn.Module]) -> None:
    """Register a temporal module of your own, so that `NAME_resnet50` and the like are networks to create and train.

    Files of such networks load in programs that have registered the module.

    Args:
        name: lower-case letters, digits and _, not one of the library's.
        layer: a class or function, `layer(channels, num_frames=T, **options)` to a module that maps (B*T, C, H, W) to
            the same shape; see `insert_temporal`.

    Raises:
        ConfigError: the name is the library's, or of another form.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _BUILT_IN:
        taken = ", ".join(sorted(_BUILT_IN))
        raise ConfigError(f"a module's name is lower-case letters, digits and _, and none of {taken}; got {name!r}")
    layers.LAYERS[name] = layer
    PREFIXES[f"{name}_"] = name


def split_name(name: str) -> tuple[str, str]:
    """Return the temporal module and timm's backbone in a model's name; ConfigError, with the nearest, if unknown."""
    if name in SYSTEMS:
        return "none", name
    prefix = prefix_of(name)
    if prefix is None:
        own = any(timm.is_model(name[i + 1 :]) for i, letter in enumerate(name) if letter == "_")
        hint = " Register a module of your own first: teinet.register_temporal." if own else ""
        raise ConfigError(f"{unknown_model(name)}{hint}")
    backbone = name.removeprefix(prefix)
    plain, _, tag = backbone.partition(".")
    if not timm.is_model(plain):
        raise no_backbone(backbone)
    tags = [pretrained.partition(".")[2] for pretrained in timm.list_pretrained(f"{plain}.*")] if tag else []
    if tag not in ("", *tags):  # a tag such as .a1_in1k chooses among timm's weights
        raise ConfigError(
            f"timm has no weights {tag!r} for {plain}.{nearest(tag, tags)} It has {', '.join(tags) or 'none'}."
        )
    return PREFIXES[prefix], backbone


def _start_head(
    cnn: nn.Module,
    backbone: str,
    num_classes: int,
    pretrained: bool,
    backbone_weights: str | Path | None,
    *,
    stays: bool = True,
) -> None:
    """Load the backbone's local weights, if any; initialize the head if theirs has another number of classes.

    A head that does not stay, as another one takes its place, is not told of.
    """
    head_name, head = find_head(cnn)
    source, theirs = None, None
    if pretrained:
        facts: dict[str, Any] = getattr(cnn, "pretrained_cfg", {})
        source, theirs = "the pretrained weights", facts.get("num_classes")
    elif backbone_weights is not None:
        source, theirs = backbone_weights, _load_backbone(cnn, backbone, backbone_weights, head_name, head)
    if theirs == num_classes:
        return
    _start_small(head)
    if source is not None and stays:
        had = f"for {theirs} classes" if theirs else "missing"
        message = "%s: the head (%s) in %s is %s; a new one for %d classes replaces it"
        log.warning(message, backbone, head_name, source, had, num_classes)


@torch.no_grad()
def _start_small(head: nn.Module) -> None:
    """Initialize a head as TSN does; deep backbones then start from almost equal scores."""
    for module in head.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
            module.weight.normal_(std=0.001)
            if module.bias is not None:
                module.bias.zero_()


def _load_backbone(cnn: nn.Module, backbone: str, path: str | Path, head_name: str, head: nn.Module) -> int | None:
    """Load the file; return the number of classes of its head, or None if it has none."""
    tensors = read_checkpoint(path).tensors
    tensors = from_caffe(tensors) if backbone == "bninception" else tensors
    stem = tensors.get("conv1.weight")
    if backbone in SYSTEMS and SYSTEMS[backbone].images and stem is not None and stem.dim() == 4:
        inflate(cnn, tensors, source=path)
        return None
    if any(".temporal." in key for key in tensors):
        raise CheckpointError(
            f"{path}: holds a whole recognizer with temporal modules, not a backbone. Load it with "
            "teinet.Recognizer.load, or fine-tune from it with teinet.models.load_matching."
        )
    own = head.state_dict()
    theirs = {key: tensors[f"{head_name}.{key}"] for key in own if f"{head_name}.{key}" in tensors}
    fits = {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in own.items()}
    load_fitting(
        cnn,
        tensors,
        source=path,
        advice=f"backbone_weights must hold weights of timm's {backbone} under timm's own keys.",
        without=None if fits else head_name,
    )
    wide = [value for value in theirs.values() if value.dim() > 1]
    return wide[-1].shape[0] if wide else None
