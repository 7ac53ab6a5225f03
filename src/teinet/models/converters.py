"""Other projects' checkpoints as our networks: the format is found from the keys, and nothing is executed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.models.checkpoint_keys import PROJECTS, Translation, translate_plain, translate_project
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model
from teinet.models.weights import Checkpoint, load_fitting, read_checkpoint, some

# By name, whose it is; what is no project's may be a plain network's.
FORMATS = {**{name: project.title for name, project in PROJECTS.items()}, "timm": "torchvision or timm"}

# What a file's name says of its training: good for a message, not to be trusted in silence.
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
        left_out: the names of what the file held besides weights.
    """

    model: VideoClassifier
    format: str
    interpolation: str
    left_out: tuple[str, ...]


def convert_checkpoint(
    path: str | Path,
    *,
    class_names: Sequence[str],
    num_frames: int | None = None,
    format: str | None = None,
    backbone: str | None = None,
    n_div: int = 8,
) -> Conversion:
    """Read another project's checkpoint as one of our networks; `save_weights` then writes its file.

    Args:
        path: a file of torch.save or .safetensors.
        class_names: in the order of the head's outputs, which the file does not say.
        num_frames: T, not in the file; may be None for a TSN whose file name has no T either, which then gets 8.
        format: tsm, mmaction or timm; None finds it from the keys.
        backbone: timm's name of the network, for format timm where neither the file nor its keys tell.
        n_div: a TSM shifts 1/n_div of the channels each way; not in the file, 8 by default in both projects.

    Raises:
        CheckpointError: a file that cannot be read, or has another format, no equal network here or other classes.
        ConfigError: a format that does not exist, T missing, or a value out of its range.
    """
    if len(set(class_names)) < len(class_names):
        raise ConfigError("class_names name a class twice.")
    checkpoint = read_checkpoint(path)
    if "teinet" in checkpoint.others or any(".temporal." in key for key in checkpoint.tensors):
        raise CheckpointError(f"{path}: a recognizer of teinet already; there is nothing to convert.")
    name = _find_format(checkpoint, path, format)
    if backbone and name != "timm":
        raise ConfigError(f"backbone is {backbone!r}, but in format {name} the keys say which network it is: omit it.")
    if name in PROJECTS:
        translation = translate_project(checkpoint.tensors, path, PROJECTS[name])
    else:
        translation = translate_plain(checkpoint, path, backbone)
    network = f"{'tsm' if translation.shifted else 'tsn'}_{translation.backbone}"
    shifts: dict[str, Any] = (
        {"n_div": n_div, "every": _EVERY.get(translation.backbone, 1)} if translation.shifted else {}
    )
    frames = _frames(path, network, num_frames)
    model = create_model(network, num_classes=len(class_names), num_frames=frames, **shifts)
    _check_shifts(model, translation, path)
    _check_ends(model, translation, path)
    load_fitting(
        model,
        translation.tensors,
        source=path,
        advice=f"It was taken for a {network} of {FORMATS[name]}; a changed network cannot be converted.",
    )
    left_out = tuple(key for key in checkpoint.others if key != "format")  # safetensors' own note
    return Conversion(model.eval(), name, translation.interpolation or model.data_config["interpolation"], left_out)


def contradictions(path: str | Path, *, num_frames: int, n_div: int, strategy: str) -> list[str]:
    """Return, a sentence each, where the name of a TSM's checkpoint contradicts the settings of its conversion."""
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
        raise ConfigError(f"there is no format {said!r}: {', '.join(FORMATS)}.{nearest(said, FORMATS)}")
    if said not in (None, found):
        raise CheckpointError(
            f"{path}: its keys ({some(keys)}) are not those of {FORMATS[said]}. "
            f"They look like format {found}; leave the format out and it is found."
        )
    return found


def _frames(path: str | Path, network: str, num_frames: int | None) -> int:
    if num_frames is not None:
        return num_frames
    hint = frames_in_name(path)
    if hint is None and network.startswith("tsn_"):
        return 8
    said = f" Its name says {hint}; if that is right, give {hint}." if hint else ""
    raise ConfigError(f"{path}: a {network}, and the file does not hold its number of frames: give --frames T.{said}")


def _check_shifts(model: VideoClassifier, translation: Translation, path: str | Path) -> None:
    """Refuse a TSM that shifts in other blocks than the network here does: the keys would fit, the answers not."""
    theirs = translation.shifted
    ours = {name for name, m in model.cnn.named_modules() if isinstance(getattr(m, "temporal", None), nn.Module)}
    if not theirs or theirs == ours:
        return
    differ = (("not", sorted(ours - theirs)), ("also", sorted(theirs - ours)))
    raise CheckpointError(
        f"{path}: shifts before {len(theirs)} convolutions and "
        f"{' and '.join(f'{how} before {some(names)}' for how, names in differ if names)}, where TSM's "
        f"{translation.backbone} shifts before {len(ours)}: the network here would answer otherwise."
    )


def _check_ends(model: VideoClassifier, translation: Translation, path: str | Path) -> None:
    """Refuse 3-D convolutions, inputs other than color images, and a head that is missing or of other classes."""
    tensors = translation.tensors
    first = tensors.get(next(key for key, value in model.state_dict().items() if value.dim() == 4))
    if first is not None and first.dim() == 5:
        raise CheckpointError(f"{path}: a network of 3-D convolutions; only 2-D ones can be converted.")
    if first is not None and first.dim() == 4 and first.shape[1] != 3:
        raise CheckpointError(
            f"{path}: its first convolution takes {first.shape[1]} channels, not the 3 of a color image "
            "(optical flow or differences of frames?); only networks of color images can be converted."
        )
    head = tensors.get(f"{model.head_name}.weight")
    if head is None:
        raise CheckpointError(
            f"{path}: holds no head ({model.head_name}), so it recognizes nothing by itself; if its keys are timm's, "
            "teinet train can start from it (--backbone-weights)."
        )
    if head.shape[0] != model.num_classes:
        raise CheckpointError(
            f"{path}: its head tells {head.shape[0]} classes apart, but {model.num_classes} class names are given; "
            "the list must be the one that it was trained with, in that order."
        )
