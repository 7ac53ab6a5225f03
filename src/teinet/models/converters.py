"""Convert other projects' checkpoints: the keys tell the format, and no code of the file is executed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.models.checkpoint_keys import PROJECTS, Translation, find_modality, translate_plain, translate_project
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import FLOW_CHANNELS, create_model
from teinet.models.system_keys import ORIGINS, find_origin, translate_system
from teinet.models.weights import Checkpoint, load_fitting, read_checkpoint, some

# Names and titles; a file of none of the projects may hold a plain network.
FORMATS = {
    **{name: project.title for name, project in (*PROJECTS.items(), *ORIGINS.items())},
    "timm": "torchvision or timm",
}

# Facts about the training in a file's name: good for a message, not reliable enough to use without one.
_FRAMES = re.compile(r"segment(\d+)|(?<!\d)1x1x(\d+)(?!\d)")  # TSM's repository; MMAction2: length x interval x clips
_DIV = re.compile(r"shift(\d+)")
_DENSE = re.compile(r"(?<![a-z])dense(?![a-z])")

# Both projects shift in every second block where the third stage has 23 blocks or more.
_EVERY = {"resnet101": 2, "resnet152": 2}


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Args:
        model: in evaluation mode.
        format: of the checkpoint, one of `FORMATS`.
        interpolation: how its training resized images.
        left_out: names of the entries of the file that are not weights.
        note: how the project's network differs from the model; empty for not at all.
    """

    model: VideoClassifier
    format: str
    interpolation: str
    left_out: tuple[str, ...]
    note: str = ""


def convert_checkpoint(
    path: str | Path,
    *,
    class_names: Sequence[str],
    num_frames: int | None = None,
    format: str | None = None,
    backbone: str | None = None,
    model: str | None = None,
    n_div: int = 8,
) -> Conversion:
    """Convert another project's checkpoint to a network of this library; `save_weights` writes its file.

    Args:
        path: a file of torch.save, .safetensors, .caffemodel or Caffe2's .pkl.
        class_names: in the order of the head's outputs; the file does not hold them.
        num_frames: T, which the file does not hold; None is 8 for a TSN whose file name has no T either, and for a
            system what it usually takes.
        format: tsm, mmaction or timm; None finds it, and the systems of `system_keys`, from the keys.
        backbone: timm's name of the network, for format timm if neither the file nor its keys tell.
        model: the system that it holds, where no key tells it: the I3D networks of Caffe2's .pkl files.
        n_div: a TSM shifts 1/n_div of the channels each way; the file does not hold it, both projects default to 8.

    Raises:
        CheckpointError: the file cannot be read, or has another format, an unsupported network or other classes.
        ConfigError: a format that does not exist, T missing, or a value out of its range.
    """
    if len(set(class_names)) < len(class_names):
        raise ConfigError("class_names holds a class twice; give one name per output of the head.")
    if Path(path).suffix == ".pdparams":
        raise CheckpointError(
            f"{path}: Paddle's StNet cannot be converted: its blocks over time have numbers for names."
        )
    checkpoint = read_checkpoint(path)
    if "teinet" in checkpoint.others or any(".temporal." in key for key in checkpoint.tensors):
        raise CheckpointError(f"{path}: this is a teinet recognizer already; no conversion is needed.")
    left_out = tuple(key for key in checkpoint.others if key != "format")  # safetensors' own note
    if format is None and (origin := find_origin(checkpoint.tensors)):
        found = translate_system(
            checkpoint.tensors, path, origin, num_classes=len(class_names), num_frames=num_frames, model=model
        )
        modality = find_modality(found.tensors)
        net = create_model(found.network, num_classes=len(class_names), num_frames=found.num_frames, modality=modality)
        load_fitting(net, found.tensors, source=path, advice="")
        if (pixels := ORIGINS[origin].pixels) and modality == "rgb":
            net.set_pixels(*pixels)
        return Conversion(net.eval(), origin, "bilinear", left_out, ORIGINS[origin].note)
    name = _find_format(checkpoint, path, format)
    if backbone and name != "timm":
        raise ConfigError(f"leave out backbone ({backbone!r}): in format {name} the keys tell the network.")
    if model:
        raise ConfigError(f"leave out model ({model!r}): in format {name} the keys tell the network.")
    if name in PROJECTS:
        translation = translate_project(checkpoint.tensors, path, PROJECTS[name])
    else:
        translation = translate_plain(checkpoint, path, backbone)
    network = f"{'tsm' if translation.shifted else 'tsn'}_{translation.backbone}"
    shifts: dict[str, Any] = (
        {"n_div": n_div, "every": _EVERY.get(translation.backbone, 1)} if translation.shifted else {}
    )
    frames = _frames(path, network, num_frames)
    modality = find_modality(translation.tensors)
    net = create_model(network, num_classes=len(class_names), num_frames=frames, modality=modality, **shifts)
    _check_shifts(net, translation, path)
    _check_ends(net, translation, path)
    load_fitting(
        net,
        translation.tensors,
        source=path,
        advice=f"It looks like a {network} of {FORMATS[name]}, but differs; a modified network cannot be converted.",
    )
    return Conversion(net.eval(), name, translation.interpolation or net.data_config["interpolation"], left_out)


def contradictions(path: str | Path, *, num_frames: int, n_div: int, strategy: str) -> list[str]:
    """Return where the name of a TSM checkpoint contradicts the settings of its conversion, one sentence each."""
    name = Path(path).name
    notes = []
    frames, div = frames_in_name(path), _DIV.search(name)
    if frames not in (None, num_frames):
        notes.append(f"the file's name says {frames} frames, the conversion {num_frames}")
    if div and int(div[1]) != n_div:
        notes.append(f"the file's name says shift{div[1]}, the conversion --n-div {n_div}")
    if _DENSE.search(name) and strategy != "dense":
        notes.append(f"the file's name says dense, the conversion --strategy {strategy}")
    return notes


def frames_in_name(path: str | Path) -> int | None:
    """Return T as the file's name gives it, or None."""
    found = _FRAMES.search(Path(path).name)
    return int(found[1] or found[2]) if found else None


def _find_format(checkpoint: Checkpoint, path: str | Path, said: str | None) -> str:
    keys = list(checkpoint.tensors)
    fits = (name for name, project in PROJECTS.items() if any(k.startswith((project.base, project.head)) for k in keys))
    found = next(fits, "timm")
    if said is not None and said not in FORMATS:
        raise ConfigError(f"unknown format {said!r}; choose from {', '.join(FORMATS)}.{nearest(said, FORMATS)}")
    if said not in (None, found):
        raise CheckpointError(
            f"{path}: its keys ({some(keys)}) are not those of {FORMATS[said]}. "
            f"They look like format {found}; leave the format out to detect it."
        )
    return found


def _frames(path: str | Path, network: str, num_frames: int | None) -> int:
    if num_frames is not None:
        return num_frames
    hint = frames_in_name(path)
    if hint is None and network.startswith("tsn_"):
        return 8
    said = f" The file's name says {hint}." if hint else ""
    raise ConfigError(f"{path}: the file does not hold the number of frames of its {network}: give --frames T.{said}")


def _check_shifts(model: VideoClassifier, translation: Translation, path: str | Path) -> None:
    """Raise CheckpointError for a TSM with shifts in other blocks: its keys would fit, its predictions differ."""
    theirs = translation.shifted
    ours = {name for name, m in model.cnn.named_modules() if isinstance(getattr(m, "temporal", None), nn.Module)}
    if not theirs or theirs == ours:
        return
    differ = (("missing", sorted(ours - theirs)), ("extra", sorted(theirs - ours)))
    raise CheckpointError(
        f"{path}: has {len(theirs)} temporal shifts where TSM's {translation.backbone} has {len(ours)} "
        f"({'; '.join(f'{how} before {some(names)}' for how, names in differ if names)}); "
        "its predictions would change, so it cannot be converted."
    )


def _check_ends(model: VideoClassifier, translation: Translation, path: str | Path) -> None:
    """Raise CheckpointError for 3-D convolutions, input other than RGB or flow, and a missing or other head."""
    tensors = translation.tensors
    first = tensors.get(next(key for key, value in model.state_dict().items() if value.dim() == 4))
    if first is not None and first.dim() == 5:
        raise CheckpointError(f"{path}: this network has 3-D convolutions; only 2-D networks can be converted.")
    if first is not None and first.dim() == 4 and first.shape[1] != model.num_channels:
        raise CheckpointError(
            f"{path}: its first convolution takes {first.shape[1]} channels (frame differences?); only networks of RGB "
            f"images, or of {FLOW_CHANNELS} channels of optical flow, can be converted."
        )
    head = tensors.get(f"{model.head_name}.weight")
    if head is None:
        raise CheckpointError(
            f"{path}: has no classification layer ({model.head_name}), so it cannot recognize videos; if its keys are "
            "timm's, teinet train can start from it (--backbone-weights)."
        )
    if head.shape[0] != model.num_classes:
        raise CheckpointError(
            f"{path}: its head has {head.shape[0]} classes, but {model.num_classes} class names are given; "
            "use the list that it was trained with, in that order."
        )
