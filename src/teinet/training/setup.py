"""From a recipe to the clips, network and loaders of a run, before it begins. Nothing is written."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from teinet.data.dataset import ClipLoader, EpochSampler, ReadWatch, TrainingClips, collate
from teinet.data.lists.labels import flipped_labels
from teinet.data.lists.rows import ClipList, presence
from teinet.data.lists.splits import Splits, load_splits
from teinet.data.sampling import Sampling, typical_frame_interval
from teinet.data.shards import shard_numbers
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.views import Views
from teinet.errors import CheckpointError, ConfigError, nearest
from teinet.evaluation.evaluate import ViewClips, evaluation_loader
from teinet.evaluation.hardware import Hardware
from teinet.models.checkpoint import load_matching, load_weights
from teinet.models.classifier import VideoClassifier, multiply_adds
from teinet.models.factory import create_model, split_name
from teinet.models.header import read_header
from teinet.models.names import prefix_of, starts_from_trunk
from teinet.training.custom_dataset import DatasetClips, DatasetViews, splits_of
from teinet.training.launch import launched
from teinet.training.module import Loss, TrainingModule
from teinet.training.recipe import ClipConfig, ModelConfig, Recipe
from teinet.training.recipe_files import changed_settings
from teinet.training.settings import build

log = logging.getLogger("teinet")

_AUGMENTATION = (
    "min_part",
    "color_jitter",
    "rand_augment",
    "blur",
    "erase",
)  # settings of `Augmentation` by their names


class ResumableLoader(ClipLoader):
    """A loader whose state, which Lightning saves and loads, is the number of batches taken in the epoch.

    That is enough, since clips and their order are functions of seed and epoch: needs an `EpochSampler`.
    """

    sampler: EpochSampler
    batch_size: int

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self._taken = 0
        self._behind = 0  # batches that the next pass skips

    def __iter__(self) -> Iterator[Any]:
        # No worker starts before the first batch is asked for: by then the epoch is set.
        self._taken, self._behind = self._behind, 0
        self.sampler.skip = self._taken * self.batch_size
        for batch in super().__iter__():
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the state to save."""
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass after the batches that were taken; if all were, at the start of the next epoch."""
        self._behind = state["taken"] if state["taken"] < len(self) else 0


class TrainingData(L.LightningDataModule):
    """The loaders of a run: training clips in an order set by seed and epoch, validation clips once each."""

    def __init__(self, train: TrainingClips, val: ViewClips | None, recipe: Recipe, workers: int):
        super().__init__()
        self.train, self.val, self.recipe, self.workers = train, val, recipe, workers
        self.watch = ReadWatch(recipe.run.read_timeout, option="--run.read_timeout")

    def train_dataloader(self) -> ResumableLoader:
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        sampler = EpochSampler(
            len(self.train),
            seed=self.recipe.run.seed,
            # Workers begin before anyone calls set_epoch. `current_epoch` counts what is completed: a state that was
            # saved at the end of an epoch would begin with that epoch's clips again.
            epoch=progress.processed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            shares=self.shares(),
            shards=self.shards,
        )
        return self.loader(sampler)

    @cached_property
    def shards(self) -> np.ndarray | None:
        """The number of each clip's shard; None where clips are files of their own."""
        return shard_numbers(self.train.clips.paths)

    def shares(self) -> np.ndarray | None:
        """Return each clip's probability with which classes are drawn equally often; None where all clips are taken."""
        if self.recipe.optim.balance != "sampling":
            return None
        labels = self.train.clips.labels
        shares = 1 / np.bincount(labels)[labels]
        return shares / shares.sum()

    def loader(self, sampler: EpochSampler) -> ResumableLoader:
        """Return batches of the clips that `sampler` draws; it counts those that were taken."""
        return ResumableLoader(
            self.train,
            watch=self.watch,
            batch_size=self.recipe.optim.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        if self.val is None:
            return []
        return evaluation_loader(
            self.val,
            batch_size=self.recipe.optim.batch_size,
            workers=self.workers,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            watch=self.watch,
        )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The clips, network and loaders of a run, before it begins."""

    recipe: Recipe
    splits: Splits
    hardware: Hardware
    model: VideoClassifier
    data: TrainingData
    sampling: Sampling
    preprocessing: Preprocessing
    frame_interval: float | None
    teachers: Sequence[VideoClassifier] = ()

    @property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps in an epoch."""
        config = self.recipe.optim
        clips = len(EpochSampler(len(self.data.train), seed=0, world_size=self.hardware.processes))
        return math.ceil(math.ceil(clips / config.batch_size) / config.accumulate)

    def module(self, unreadable_csv: Path, loss: Loss | None = None) -> TrainingModule:
        """Return the training module; it lists clips that cannot be read in `unreadable_csv`."""
        return TrainingModule(
            self.model,
            self.recipe,
            steps_per_epoch=self.steps_per_epoch,
            train_clips=self.splits["train"],
            val_clips=self.splits.get("val"),
            unreadable_csv=unreadable_csv,
            loss=loss,
            teachers=self.teachers,
        )

    def header(self, scores: dict) -> dict[str, Any]:
        """Return the header of the weights file."""
        data = {split: clips.fingerprint() for split, clips in self.splits.items()}
        return {
            "class_names": self.splits["train"].class_names,
            "preprocessing": self.preprocessing.to_dict(),
            "sampling": asdict(self.sampling),
            "frame_interval": self.frame_interval,
            "recipe": asdict(self.recipe),
            "scores": scores,
            "license": self.recipe.run.license,
            "background": self.recipe.run.background,
            "changed_settings": changed_settings(asdict(self.recipe), asdict(Recipe())),
            "data": {**data, "train": {**data["train"], "clip_hashes": self._clip_hashes}},
        }

    @cached_property
    def _clip_hashes(self) -> str:
        return self.splits["train"].packed_hashes()


def prepare(
    recipe: Recipe,
    *,
    datasets: Mapping[str, Any] | None = None,
    finished: Callable[[Splits], bool] = lambda splits: False,
) -> Parts | None:
    """Read the clips and build the network; nothing is written. Return None if `finished` is true for the clips.

    Args:
        datasets: the clips by split, in place of those of `recipe.data`; see `custom_dataset.splits_of`.

    Raises:
        TeinetError: a setting, list or weights file that does not fit.
    """
    recipe.check()
    splits = load_splits(recipe.data) if datasets is None else splits_of(datasets, recipe)
    if "train" not in splits:
        raise ConfigError(f"{recipe.data.path} leaves no clip for training; check data.train, data.val and data.test")
    _refuse_missing(splits, recipe.run.max_unreadable)
    hardware = hardware_of(recipe)
    if finished(splits):
        return None
    for label in recipe.run.background:
        if label not in (names := splits["train"].class_names):
            raise ConfigError(f"run.background: there is no class {label!r}.{nearest(label, names)}")
    _warn_of_empty_classes(splits["train"])
    if "val" in splits and (sets := splits["val"].label_sets) is not None and not sets.any():
        raise ConfigError(f"{recipe.data.path}: no validation clip has a class, so val_map is unknown; choose others")
    own = {split: each for split, each in (datasets or {}).items() if not isinstance(each, ClipList)}
    _refuse_misfits(recipe, splits, own, hardware)
    L.seed_everything(recipe.run.seed, verbose=False)
    model = build_model(recipe, splits["train"].class_names)
    clip = recipe.clip
    sampling = Sampling(
        num_frames=recipe.model.num_frames, strategy=clip.strategy, window=clip.window, adjacent=clip.adjacent
    )
    pixels = model.data_config  # what the backbone was trained with
    preprocessing = Preprocessing(
        size=recipe.clip.shape,
        short_side=recipe.clip.effective_short_side,
        fit=recipe.clip.fit,
        interpolation=pixels["interpolation"],
        mean=pixels["mean"],
        std=pixels["std"],
    )
    same = {name: getattr(clip, name) for name in _AUGMENTATION}
    augmentation = Augmentation(crop=clip.crop, scales=tuple(clip.scales), hflip=_hflip(recipe, splits), **same)
    if "train" in own:
        train_clips = DatasetClips(own["train"], splits["train"])
    else:
        train_clips = TrainingClips(splits["train"], sampling, preprocessing, augmentation)
    val_clips = None
    if "val" in own:
        val_clips = DatasetViews(own["val"], splits["val"])
    elif "val" in splits:
        val_clips = ViewClips(splits["val"], sampling, preprocessing, Views())
    return Parts(
        recipe=recipe,
        splits=splits,
        hardware=hardware,
        model=model,
        data=TrainingData(train_clips, val_clips, recipe, hardware.workers(recipe.run.workers)),
        sampling=sampling,
        preprocessing=preprocessing,
        frame_interval=None if "train" in own else typical_frame_interval(splits["train"], sampling),
        teachers=[_teacher(weights, model, splits["train"].class_names) for weights in recipe.optim.teachers],
    )


def _teacher(weights: str, model: VideoClassifier, class_names: Sequence[str]) -> VideoClassifier:
    """Return a trained network that sees the clips of `model` and knows the same classes."""
    teacher, header = load_weights(weights)
    if header["multi_label"]:
        raise ConfigError(f"optim.teachers: {weights} gives several labels for a clip; a teacher gives one")
    if list(header["class_names"]) != list(class_names):
        raise ConfigError(
            f"optim.teachers: {weights} has other classes than the training clips, or another order of them"
        )
    for what in ("num_frames", "num_channels"):
        if (own := getattr(model, what)) != (other := getattr(teacher, what)):
            raise ConfigError(f"optim.teachers: {weights} has {what} {other}, the network that it teaches {own}")
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher


def _refuse_misfits(recipe: Recipe, splits: Splits, own: Collection[str], hardware: Hardware) -> None:
    """Raise ConfigError at settings that need what the clips do not have."""
    config = recipe.optim
    for name in recipe.run.loggers:
        if find_spec({"csv": "lightning"}.get(name, name)) is None:
            raise ConfigError(f"run.loggers {name} needs the package {name}: pip install {name}")
    if recipe.run.probe:
        if own or "val" not in splits or hardware.processes > 1 or recipe.model.modality == "flow":
            said = "a list of clips with validation clips, of images, and one device"
            raise ConfigError(f"run.probe needs {said}; leave it out")
        if prefix_of(recipe.model.name) is None:
            raise ConfigError(f"run.probe needs a backbone of timm, and {recipe.model.name} has none; leave it out")
        if recipe.model.weights or not (recipe.model.pretrained or recipe.model.backbone_weights):
            raise ConfigError("run.probe needs a start from a trained 2-D network (model.pretrained); leave it out")
    if config.patience and "val" not in splits:
        raise ConfigError("optim.patience needs validation clips, and there are none; leave it out, or set data.val")
    if config.balance != "none" and (splits["train"].labels < 0).any():
        raise ConfigError("optim.balance needs the labels of all training clips: the attribute `targets` of a dataset")
    changed = [name for name in _AUGMENTATION if getattr(recipe.clip, name) != getattr(ClipConfig, name)]
    if "train" in own and changed:
        raise ConfigError(f"clip.{changed[0]} has no effect on clips of a dataset of your own; change them there")


def _refuse_missing(splits: Splits, limit: float) -> None:
    """Raise ConfigError for more missing training clips than the run would tolerate, before its first step."""
    if not splits.source.absent:
        return
    paths = splits["train"].paths
    exists = presence()
    missing = [path for path in paths if not exists(path)]
    if len(missing) > limit * len(paths):
        enough = math.ceil(100 * len(missing) / len(paths)) / 100
        raise ConfigError(
            f"missing: {len(missing)} of {len(paths)} training clips, such as {missing[0]}, more than the allowed "
            f"{limit:.1%}; --data.missing drop leaves them out, --run.max_unreadable {enough:g} allows as many"
        )


def with_network_of_weights(recipe: Recipe, given: Collection[str]) -> Recipe:
    """Return a recipe with the network of `model.weights`, and the way it looks at clips, but for settings `given`.

    Of weights with other temporal modules than a given network's, it takes what both have: frames and consensus.

    Raises:
        CheckpointError: the weights cannot be read.
        ConfigError: a network with another backbone is given.
    """
    if not recipe.model.weights:
        return recipe
    header = read_header(recipe.model.weights)
    if "model.name" in given:
        held = header["architecture"]["name"]
        name = recipe.model.name
        if split_name(held)[1] != split_name(name)[1] and not starts_from_trunk(name, held):
            said = f"{recipe.model.weights} holds {held}, not {recipe.model.name}"
            raise ConfigError(f"{said}; leave out backbone and model: the weights bring their network")
        if split_name(held)[1] != split_name(name)[1]:
            return recipe
    own = {f.name for f in fields(recipe.model)} - {"weights", "dropout", "pretrained", "backbone_weights"}
    if "model.name" in given:
        own = {"num_frames", "consensus", "subsets", "modality"}
    own -= {name.removeprefix("model.") for name in given}
    model = {name: value for name, value in header["architecture"].items() if name in own}
    trained_with = {**header["sampling"], **header["preprocessing"]}
    kept = {name.removeprefix("clip.") for name in given}
    if kept & {"size", "fit"}:  # with its own short side
        kept.add("short_side")
    if trained_with.get("strategy") != "dense":
        kept.add("window")
    seen = {"strategy", "window", "adjacent", "size", "short_side", "fit"} & set(trained_with) - kept
    try:  # with the settings' types, which a header need not have
        network = build(ModelConfig, model, "model.")
        clip = build(ClipConfig, {name: trained_with[name] for name in seen}, "clip.")
    except ConfigError as error:
        raise CheckpointError(f"{recipe.model.weights}: its teinet header is damaged ({error})") from None
    return replace(
        recipe,
        model=replace(recipe.model, **{name: getattr(network, name) for name in model}),
        clip=replace(recipe.clip, **{name: getattr(clip, name) for name in seen}),
    )


def _warn_of_empty_classes(train: ClipList) -> None:
    """Warn of classes without training clips, such as those of a misspelled folder; ConfigError if one has them all."""
    if (train.labels < 0).all():  # a dataset of one's own, which does not tell
        return
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.class_names))
    counts = train.label_sets.sum(0) if train.label_sets is not None else counts
    empty = [name for name, count in zip(train.class_names, counts) if not count]
    if len(present := np.flatnonzero(counts)) == 1 and train.label_sets is None:
        name = train.class_names[present[0]]
        reason = f"all training clips are of one class, {name!r}, so there is nothing to tell apart"
        raise ConfigError(f"{train.source}: {reason}; add clips of a second one")
    if empty:
        some = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        facts = (train.source, len(empty), len(train.class_names), some)
        log.warning("%s: %d of %d classes have no training clips (%s)", *facts)


def _hflip(recipe: Recipe, splits: Splits) -> bool:
    """Return whether clips are flipped horizontally: as the recipe says, or unless a flipped class is no class."""
    if recipe.clip.hflip != "auto":
        return recipe.clip.hflip
    if splits.source.numbered:
        splits.source.notes.append("not flipped: classes have numbers and no names that would tell a direction")
        return False
    try:
        flipped_labels(splits["train"].class_names)
    except ConfigError as error:
        splits.source.notes.append(f"not flipped: {error}")
        return False
    return True


def hardware_of(recipe: Recipe) -> Hardware:
    """Return the devices and the precision of a recipe; under a launcher, those that it started."""
    device, devices, nodes = recipe.run.device, recipe.run.devices, 1
    if launch := launched():
        if devices not in (1, launch.devices):
            said = f"run.devices is {devices}, but {launch.by} started {launch.devices} processes on each node"
            raise ConfigError(f"{said}; leave it out")
        devices, nodes = launch.devices, launch.processes // launch.devices
    return Hardware(device=device, devices=devices, nodes=nodes, precision=recipe.run.precision)


def build_model(recipe: Recipe, class_names: list[str]) -> VideoClassifier:
    """Return the network of a recipe, with ImageNet, local or trained weights to start from."""
    config = recipe.model
    model = create_model(
        config.name,
        num_classes=len(class_names),
        num_frames=config.num_frames,
        pretrained=config.pretrained and not (config.backbone_weights or config.weights),
        backbone_weights=None if config.weights else config.backbone_weights,
        dropout=config.dropout,
        stages=tuple(config.stages),
        shortcut_only=config.shortcut_only,
        every=config.every,
        causal=config.causal,
        modality=config.modality,
        **config.options(),
    )
    height, width = recipe.clip.shape
    try:
        multiply_adds(model, (height, width))  # on shapes alone
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{config.name} does not run on images of {height}x{width} pixels ({str(error).splitlines()[0]}); set "
            "another clip.size, such as 224"
        ) from None
    if config.weights:
        load_matching(model, config.weights, class_names=class_names)
    fresh_gate = config.gate != "residual" and not config.weights and config.name.startswith(("mem_", "teinet_"))
    frozen = "freeze_backbone" if recipe.optim.freeze_backbone else "freeze_bn"
    if (recipe.optim.freeze_backbone or recipe.optim.freeze_bn != "none") and fresh_gate:
        log.warning(
            "an untrained MEM halves its input, which frozen batch norms cannot adapt to; expect low accuracy with "
            f"optim.{frozen}, or set model.gate residual"
        )
    return model
