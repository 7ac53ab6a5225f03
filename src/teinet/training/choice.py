"""The settings of a run that no recipe gives: chosen by the clips and the machine, each with its reason."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.splits import Splits, load_splits
from teinet.data.sampling import typical_whole_frame
from teinet.data.views import Views
from teinet.errors import ConfigError, TeinetError
from teinet.models.checkpoint import keeps_head
from teinet.models.header import read_header
from teinet.models.names import prefix_of
from teinet.training.recipe import Recipe
from teinet.training.settings import build
from teinet.training.setup import hardware_of
from teinet.utils.text import count

log = logging.getLogger("teinet")

FEW = 2_000  # training clips, up to which a probe comes first
MANY = 20_000  # from which on the recipe is the paper's
_CLIPS = 6_000  # that training takes in all, each several times
_PROBED = 5  # clips of the rarest class that a probe needs
_GROUPS = 3  # values of a column, one of which can then be held out
_WIDE = 1.5  # long side over short side of frames, from which on a square would miss much
_TOGETHER = ("group", "source_video", "source", "recording", "person", "subject", "actor", "speaker")  # columns
_RATE = {f"optim.{name}" for name in "scale_lr schedule optimizer milestones gamma warmup".split()}
_SHAPE = {"clip.size", "clip.short_side", "clip.fit"}


class Choice(NamedTuple):
    """A setting, its value, and why it was chosen."""

    setting: str
    value: Any
    reason: str


def choose(recipe: Recipe, given: Collection[str]) -> tuple[Recipe, list[Choice]]:
    """Return a recipe for its clips and this machine, and what was chosen; settings that are `given` stand.

    Weights to start from bring their network and their way to look at clips. For a network with settings of its
    authors' own, and from 20,000 training clips on, all stays as it is.

    Raises:
        TeinetError: the list of clips cannot be read or split.
    """
    if prefix_of(recipe.model.name) is None:
        return recipe, []
    found: list[Choice] = []
    splits = None
    if "data.group" not in given and not (recipe.data.val or recipe.data.val_path) and (column := _column(recipe)):
        try:
            splits = _unheard(replace(recipe.data, group=column))
        except TeinetError:  # too few clips to hold whole groups out
            pass
        if splits is not None and not _shows_all_classes(splits):
            splits = None
        if splits is not None:
            reason = f"clips of one {column.replace('_', ' ')} stay together, so that validation shows new ones"
            found.append(Choice("data.group", column, reason))
    if splits is None:
        try:
            splits = _unheard(recipe.data)
        except TeinetError:
            splits = load_splits(recipe.data)  # fails again, with the warnings that explain it
    if "train" in splits and len(splits["train"]) < MANY:
        found += _of_clips(recipe, splits, given)
    kept = set(given)
    if _RATE & kept:
        kept |= {"optim.lr", "optim.schedule"}
    if _SHAPE & kept:
        kept |= _SHAPE
    found = [choice for choice in found if choice.setting not in kept]
    for choice in found:
        section, name = choice.setting.split(".")
        values = {**vars(getattr(recipe, section)), name: choice.value}
        recipe = replace(recipe, **{section: build(type(getattr(recipe, section)), values, f"{section}.")})
    return recipe, found


def _unheard(config: DataConfig) -> Splits:
    """Return the clips by split, without the warnings about their list, which follow when the run reads it."""

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log.addFilter(is_error)
    try:
        return load_splits(config)
    finally:
        log.removeFilter(is_error)


def _shows_all_classes(splits: Splits) -> bool:
    """Return whether there are clips to validate on, and none of a class without training clips."""
    return "val" in splits and set(splits["val"].labels) <= set(splits["train"].labels)


def _of_clips(recipe: Recipe, splits: Splits, given: Collection[str]) -> list[Choice]:
    clips, classes = len(splits["train"]), len(splits["train"].class_names)
    hardware = hardware_of(recipe)
    on_gpu = hardware.torch_device().startswith("cuda")
    short = 224 if on_gpu else 112
    height, width = typical_whole_frame(splits["train"], short, recipe.model.modality)
    epochs = int(np.clip(round(_CLIPS / clips), 8, 30))
    machine, backbone = ("a GPU", "resnet50") if on_gpu else ("not on an NVIDIA GPU: small", "tf_efficientnet_lite0")
    few = f"{count(clips, 'training clip')} of {classes} classes"
    if recipe.model.weights:
        header = read_header(recipe.model.weights)
        same = header["architecture"]["name"] == recipe.model.name
        keeps = same and keeps_head(header, splits["train"].class_names, recipe.model.name)
        is_probe = clips < FEW and keeps and "probe" in header
        epochs = int(np.clip(epochs // 2, 4, 8 if is_probe else None))
        batch, rate = (8, 0.0002) if is_probe else (16, 0.001)
        found = [
            Choice("optim.epochs", epochs, f"{few}, and trained weights to start from: each is seen {epochs} times"),
            Choice("optim.batch_size", batch, "enough steps an epoch for few clips"),
            Choice(
                "optim.lr",
                rate * 64 / batch,
                f"for 64 clips, so {rate:g} for {batch}: small steps from trained weights",
            ),
            Choice("optim.schedule", "onecycle", "ends near zero, where the last weights are good"),
            Choice("optim.freeze_bn", "all", "few clips would spoil the statistics that the weights come with"),
            Choice("clip.hflip", "auto", "flipped clips are new ones, unless a class has a direction"),
        ]
        if is_probe:
            found.append(Choice("optim.freeze_stages", 3, "few clips teach early layers little; half the memory"))
            found.append(Choice("clip.scales", [1.0], "the head was fitted on whole frames"))
        return found
    found = [
        Choice("model.name", f"teinet_{backbone}", machine),
        Choice("optim.epochs", epochs, f"{few}: each is seen {epochs} times"),
        Choice("optim.batch_size", 16, "enough steps an epoch for few clips"),
        Choice("optim.lr", 0.04, "for 64 clips, so 0.01 for 16, at the peak of one cycle"),
        Choice("optim.schedule", "onecycle", "ends near zero, where the last weights are good"),
        Choice("clip.hflip", "auto", "flipped clips are new ones, unless a class has a direction"),
    ]
    if max(height, width) > _WIDE * short and _one_crop(recipe):
        found.append(Choice("clip.size", [height, width], "frames are wide, and their whole width is seen"))
        found.append(Choice("clip.fit", "squash", "the whole frame, in its own proportions"))
    else:
        found.append(Choice("clip.size", short, "as in the paper" if on_gpu else "small images train fast"))
    if not (recipe.model.pretrained or recipe.model.backbone_weights):
        return found
    if "model.name" not in given or recipe.model.name.startswith(("mem_", "teinet_")):
        found.append(Choice("model.gate", "residual", "the start is close to the ImageNet network"))
    simple = hardware.processes == 1 and recipe.model.modality == "rgb" and not recipe.data.multi_label
    rarest = min(np.unique(splits["train"].labels, return_counts=True)[1])
    if rarest >= _PROBED and clips < FEW and "val" in splits and simple:
        found.append(Choice("run.probe", True, "with few clips, a head on the frozen network may be best"))
    return found


def in_lines(choices: list[Choice]) -> str:
    """Return what was chosen as a table, a setting and its reason in each line; empty if nothing was."""
    if not choices:
        return ""
    named = [(f"--{choice.setting} {json.dumps(choice.value)}".replace('"', ""), choice.reason) for choice in choices]
    width = max(len(setting) for setting, _ in named)
    rows = [f"  {setting:<{width}}  {reason}" for setting, reason in named]
    return "\n".join(["chosen by the clips and this machine (any setting that you give stands):", *rows])


def _one_crop(recipe: Recipe) -> bool:
    """Return whether the recipe's tests have one crop each, as a whole frame has."""
    try:
        return all(Views.parse(views).num_crops == 1 for views in recipe.tests())
    except ConfigError:
        return False


def _column(recipe: Recipe) -> str | None:
    """Return the column of a csv list that names what a fold must keep together; None if it has none, or few values."""
    path = Path(recipe.data.path or "")
    if path.suffix != ".csv" or not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            place = {name.casefold(): number for number, name in enumerate(header)}
            name = next((name for name in _TOGETHER if name in place), None)
            if name is None or "split" in place:
                return None
            values = {row[place[name]] for row in rows if len(row) > place[name]}
    except csv.Error:  # the list's reader says what is wrong, and where
        return None
    return header[place[name]] if len(values) >= _GROUPS else None
