"""The recipe: every setting of a run, typed. The defaults are the paper's for Something-Something (section 4.2)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from teinet.data.lists.data_config import READ_TIMEOUT, DataConfig
from teinet.data.remote import address_of
from teinet.data.views import Views, check_views
from teinet.errors import ConfigError
from teinet.evaluation.published import Published
from teinet.models.header import pretrained_file
from teinet.models.hub import is_hub_address
from teinet.training.settings import load

REQUIRED = "REQUIRED"  # in place of a path that only the user can know

_MOST = 256  # of `_COUNTS`: the system would end a process that asks for a million threads without a word
_LARGEST = 2**31 - 1  # of all whole numbers but seeds: libraries do not count further
# Settings for clips of one label each.
_ONE_LABEL = "optim.label_smoothing optim.mixup optim.cutmix optim.balance optim.teachers run.probe"
_COUNTS = "run.devices run.workers run.threads"
_LOWEST = {  # value of settings
    1: "data.official_split model.num_frames optim.epochs optim.batch_size optim.accumulate run.devices "
    "run.validate_every run.threads",
    0: "optim.recompute_bn optim.gamma optim.warmup optim.weight_decay optim.clip_grad_norm optim.head_lr_scale "
    "optim.bias_lr_scale optim.temporal_lr_scale optim.mixup optim.cutmix optim.patience run.seed run.workers "
    "run.read_timeout run.save_every_steps run.save_every_minutes run.max_unreadable",
}


@dataclass(kw_only=True)
class ModelConfig:
    """The network and its starting weights.

    Args:
        name: prefix and timm backbone, such as teinet_resnet50, tsn_resnet50, tsm_mobilenetv2_100.
        num_frames: frames per clip, T.
        stages: stages that get temporal modules, 2 to 5 (res2 to res5).
        shortcut_only: only blocks with a shortcut get a module; false adds blocks without one.
        every: 2 puts modules into every second block of a stage (TSM's code, in ResNet-101 and -152).
        modality: rgb, or flow for folders of images of optical flow: a second network, whose scores `teinet test A B`
            averages with those of the first.
        causal: the form for live video: a frame sees only itself and earlier ones.
        reduction: channel reduction r of MEM and SE (default 8).
        gate: MEM's form, paper (Eq. 3) or residual (default paper).
        init: TIM's first kernel, shift (equals TSM) or identity (default shift).
        n_div: TSM moves 1/n_div of the channels each way (default 8).
        consensus: how frames become one answer: the average of their logits; motion, the same of features that hold
            what changed since the frame before; temporal, a linear layer on these features in their order; difference
            and temporal_difference, the same two of the frames and of their differences from the frame before, at
            twice the cost; TRN's relation; StNet's xception (default: relation with trn_, else average).
        subsets: of the relation: number of subsets drawn at each scale, first or all (default 3).
        boxes: of nl_i3d_resnet50_gcn: those that a detector finds, downloaded once, or a fixed grid (default detector).
        dropout: share of features dropped before the classifier, 0 to below 1.
        pretrained: start from timm's ImageNet weights (downloaded once).
        backbone_weights: start from this local file of 2-D weights instead.
        weights: start from this trained recognizer (a file, a run's folder, a pretrained model's name, hf://user/name);
            its head is kept only where the classes are the same. REQUIRED in a recipe stands for weights that
            the user must name.
    """

    name: str = "teinet_resnet50"
    num_frames: int = 8
    stages: list[int] = field(default_factory=lambda: [2, 3, 4, 5])
    shortcut_only: bool = True
    every: int = 1
    modality: Literal["rgb", "flow"] = "rgb"
    causal: bool = False
    reduction: int | None = None
    gate: Literal["paper", "residual"] | None = None
    init: Literal["shift", "identity"] | None = None
    n_div: int | None = None
    consensus: (
        Literal["average", "motion", "temporal", "difference", "temporal_difference", "relation", "xception"] | None
    ) = None
    subsets: int | Literal["first", "all"] | None = None
    boxes: Literal["detector", "grid"] | None = None
    dropout: float = 0.5
    pretrained: bool = True
    backbone_weights: str | None = None
    weights: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of the temporal module, of the consensus and of a system that are set."""
        names = ("reduction", "gate", "init", "n_div", "consensus", "subsets", "boxes")
        return {k: v for k in names if (v := getattr(self, k)) is not None}


@dataclass(kw_only=True)
class ClipConfig:
    """Frames, size and augmentation of a clip.

    Args:
        strategy: sparse (one frame from each of T equal parts) or dense (T frames from a window).
        window: frames of the dense window.
        adjacent: frames in a row that sparse takes from each of T / adjacent equal parts (5 for StNet).
        size: side of the square image, pixels; or [height, width], for fit squash.
        short_side: short side of the frame before cropping, pixels; by default size * 256 / 224, or size where the
            frame is squashed.
        fit: crop (squares are cut from the frame) or squash (the whole frame is resized to size, whatever its aspect
            ratio: for actions at the edges of wide images).
        crop: training crops at corners, edges and center, at the center alone, or anywhere (random, of any size
            between the largest and the smallest of scales).
        scales: sizes of the training crop relative to the short side, or to the frame's own sides where it is squashed.
        hflip: flip half of the training clips horizontally, and exchange classes named by direction (left, right). auto
            flips unless a flipped class is not among the classes.
        min_part: smallest part of a clip (of the dense window) that its frames are drawn from, above 0 to 1: below 1,
            actions start elsewhere and have other speeds.
        color_jitter: largest change of brightness, contrast and saturation, 0 (none) to 1, the same in all frames.
        rand_augment: strength of RandAugment, two random changes of each clip's pixels: 0 (none) to 30.
        blur: share of the training clips that are blurred.
        erase: share of the training clips in which a random rectangle is erased.
        swap_background: share of the training clips whose mean frame is replaced by that of another clip of the batch,
            so that what moves is all that tells the class.
    """

    strategy: Literal["sparse", "dense"] = "sparse"
    window: int = 64
    adjacent: int = 1
    size: int | list[int] = 224
    short_side: int | None = None
    fit: Literal["crop", "squash"] = "crop"
    crop: Literal["corners", "center", "random"] = "corners"
    scales: list[float] = field(default_factory=lambda: [1.0, 0.875, 0.75, 0.66])
    hflip: bool | Literal["auto"] = False
    min_part: float = 1.0
    color_jitter: float = 0.0
    rand_augment: int = 0
    blur: float = 0.0
    erase: float = 0.0
    swap_background: float = 0.0

    @property
    def effective_short_side(self) -> int:
        short = min(self.shape)
        return self.short_side or (short if self.fit == "squash" else round(short * 256 / 224))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        from teinet.data.transforms import shape_of  # with torch, which a help text must not wait for

        return shape_of(self.size)

    @property
    def pixels(self) -> str:
        """Height and width as text."""
        height, width = self.shape
        return str(height) if height == width else f"{height}x{width}"


@dataclass(kw_only=True)
class OptimConfig:
    """Optimizer and schedule.

    Args:
        epochs: passes over the training clips.
        batch_size: clips per device and step; the global batch is batch_size * devices * accumulate.
        accumulate: steps whose gradients are added before the weights change.
        optimizer: sgd (the paper's) or adamw.
        lr: learning rate for a global batch of 64; scaled with the batch unless scale_lr is false.
        scale_lr: scale lr by the global batch over 64.
        schedule: step (times gamma at each milestone), cosine (to zero), onecycle (up for 30 %, then down to zero).
        milestones: epochs of the steps; by default at 60, 80 and 90 % of the epochs (30, 40, 45 of 50).
        gamma: factor at each milestone.
        warmup: epochs of linear warm-up (step and cosine).
        momentum: SGD's, 0 to below 1.
        nesterov: Nesterov's form of the momentum.
        weight_decay: of weights; not of biases and norms.
        clip_grad_norm: largest gradient norm; 0 turns clipping off.
        head_lr_scale: factor on the learning rate of the last layer.
        bias_lr_scale: factor on the learning rate of biases, on top of head_lr_scale in the last layer.
        temporal_lr_scale: factor on the learning rate of the temporal modules; 10 was worse than 1 where measured
            (benchmarks/notes/evidence.md).
        freeze_bn: batch norms that keep their statistics and weights: none, all_but_first, all.
        freeze_stages: frozen layers: 0 none, 1 the stem, 2 to 4 also the stages up to res2, res3, res4.
        freeze_backbone: train only the temporal modules and the last layer.
        recompute_bn: batches of training clips over which batch-norm statistics are recomputed before each validation
            or, in epochs without one, at their end; 0 leaves the running averages.
        gradient_checkpointing: activations recomputed in the backward pass to save memory: none, temporal (outputs of
            the temporal modules, in a ResNet a fifth of the memory, for little time), blocks (all inside blocks).
        label_smoothing: share of the target spread over all classes, 0 to below 1.
        layer_decay: factor on the learning rate of each layer of the backbone, once for every layer above it, above 0
            to 1: below 1, early layers learn slowly.
        mixup: each clip of a step is mixed with another one by a share from Beta(mixup, mixup); 0: not.
        cutmix: likewise, a rectangle of another clip replaces its own; with both, each step takes one of them.
        balance: none; loss (each class counts the same in the loss, whatever its number of clips); sampling (each class
            is drawn equally often).
        ema: decay of an average of the weights over steps, such as 0.999, which is validated and saved in their place;
            0: none.
        patience: validations in a row without a better top-1 after which the run ends; 0: it never ends early.
        teachers: trained recognizers of the same classes, from whose mean probabilities the network learns too.
        distill: share of the loss that the teachers have, above 0 to 1.
        distill_temperature: softens the probabilities of teachers and network for that part of the loss, above 0.
    """

    epochs: int = 50
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    scale_lr: bool = True
    schedule: Literal["step", "cosine", "onecycle"] = "step"
    milestones: list[int] | None = None
    gamma: float = 0.1
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    clip_grad_norm: float = 20.0
    head_lr_scale: float = 5.0
    bias_lr_scale: float = 2.0
    temporal_lr_scale: float = 1.0
    freeze_bn: Literal["none", "all_but_first", "all"] = "none"
    freeze_stages: int = 0
    freeze_backbone: bool = False
    recompute_bn: int = 0
    gradient_checkpointing: Literal["none", "temporal", "blocks"] = "none"
    label_smoothing: float = 0.0
    layer_decay: float = 1.0
    mixup: float = 0.0
    cutmix: float = 0.0
    balance: Literal["none", "loss", "sampling"] = "none"
    ema: float = 0.0
    patience: int = 0
    teachers: list[str] = field(default_factory=list)
    distill: float = 0.5
    distill_temperature: float = 2.0

    def learning_rate(self, devices: int) -> float:
        """Return the learning rate that the run uses."""
        return self.lr * (self.batch_size * devices * self.accumulate / 64 if self.scale_lr else 1.0)


@dataclass(kw_only=True)
class RunConfig:
    """The run: its folder, devices, workers, saved states and tests.

    Args:
        output: folder for runs.
        name: this run's folder inside output; by default the network's name and a number, or, where `model.weights`
            are fine-tuned, DATA-from-WEIGHTS and a number.
        seed: of the random numbers for weights, order, augmentation and dropout.
        device: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.
        devices: number of GPUs; on a CPU, of processes.
        precision: auto (16-bit mixed precision on a GPU, else fp32), fp32, bf16, fp16.
        workers: decoding processes per device; by default one per core, at most 8.
        read_timeout: seconds that reading one clip may take before the run stops and names the file (a disk that does
            not respond, a decoder in a loop); 0, or no workers, sets no limit.
        threads: of the training process, on a CPU; by default torch's choice. 1 is best for small images.
        validate_every: epochs between validations.
        save_every_steps: steps between saved states from which --resume continues; 0: by minutes only.
        save_every_minutes: minutes between saved states, besides one after each epoch.
        license: of the weights; stored in their file.
        background: background classes; stored in the weights file, so that they are never events in recordings and
            live video.
        max_unreadable: largest share of training clips that may be unreadable before the run stops.
        official_splits: train and test once for each of these official splits of the data set, and report the mean.
        tests: views to test with after training, such as [1x1, 10x3]; by default those of the published rows.
        probe: fit a linear head on the frozen 2-D network first (`teinet probe`); best.safetensors holds it until
            training is better on the validation clips by more than chance: two standard errors.
        loggers: where losses and rates are logged, besides log.csv: tensorboard, csv, wandb, mlflow.
    """

    output: str = "runs"
    name: str | None = None
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: int | None = None
    read_timeout: float = READ_TIMEOUT
    threads: int | None = None
    validate_every: int = 1
    save_every_steps: int = 0
    save_every_minutes: float = 10.0
    license: str = ""
    background: list[str] = field(default_factory=list)
    max_unreadable: float = 0.01
    official_splits: list[int] = field(default_factory=list)
    tests: list[str] | None = None
    probe: bool = False
    loggers: list[Literal["tensorboard", "csv", "wandb", "mlflow"]] = field(default_factory=lambda: ["tensorboard"])


@dataclass(kw_only=True)
class Recipe:
    """All settings of a run.

    Args:
        row: the name of the library's recipe that it follows.
        published: the rows of a paper's tables that it reproduces; tests print them next to their results.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    row: str | None = None
    published: list[Published] = field(default_factory=list)

    @classmethod
    def load(cls, *sources: str | PathLike[str] | Mapping[str, Any], **settings: Any) -> Recipe:
        """Return the recipe of `sources` and `settings`, later ones overriding earlier ones; of none, the paper's.

            Recipe.load("small_data", data="videos/", **{"optim.lr": 0.02})

        Args:
            sources: names of the library's recipes (`teinet recipes` lists them), YAML files, or mappings of settings.
            settings: by name (`optim.lr`), by section (`optim={"lr": 0.02}`) or in their short form (`lr`, `epochs`,
                `backbone`, ...: `teinet train --help` lists them). A text is read as on the command line. A system
                such as s3dg brings its frames, size, sampling, dropout and one rate for all layers, where not set.

        Raises:
            ConfigError: no such recipe or setting, or a value of another type. If values fit each other is for
                `check`, which training calls.
        """
        return load(cls, *sources, settings)

    @property
    def default_name(self) -> str:
        """The name of a run without `run.name`: its row; fine-tuned, DATA-from-WEIGHTS; else its network."""
        if self.row:
            return self.row.replace("/", "-")
        if not self.model.weights:
            return self.model.name
        data, weights = Path(self.data.path or "clips").absolute(), Path(self.model.weights)
        if weights.suffix == ".safetensors":  # of a run's folder, or a file of its own name
            weights = weights.absolute().parent if weights.stem in ("last", "best") else weights.with_suffix("")
        name = data.stem if data.is_file() else data.name
        return re.sub(r"[^\w.+-]+", "-", f"{name}-from-{weights.name}")

    def tests(self) -> list[str]:
        """Return the views to test with after training, each once."""
        if self.run.tests is not None:
            return self.run.tests
        return list(dict.fromkeys(p.views for p in self.published if not p.ensemble))

    def with_absolute_paths(self) -> Recipe:
        """Return the same recipe with absolute paths."""

        def absolute(path: str | None) -> str | None:
            if path in (None, REQUIRED) or address_of(path):
                return path
            return str(Path(os.path.expanduser(path)).absolute())

        paths = ("path", "root", "val_path", "test_path", "labels")
        data = replace(self.data, **{name: absolute(getattr(self.data, name)) for name in paths})

        def network(weights: str | None) -> str | None:  # a pretrained model keeps its name, a repository its address
            named = weights and not Path(weights).exists() and (pretrained_file(weights) or is_hub_address(weights))
            return weights if named else absolute(weights)

        model = replace(
            self.model, weights=network(self.model.weights), backbone_weights=absolute(self.model.backbone_weights)
        )
        optim = replace(self.optim, teachers=[str(network(weights)) for weights in self.optim.teachers])
        return replace(self, data=data, model=model, optim=optim)

    def check(self) -> None:
        """Check that values are in their ranges and fit each other.

        Raises:
            ConfigError: the first value that is not or does not, with its name and range.
        """
        if self.model.weights == REQUIRED:
            raise ConfigError("this recipe starts from a trained recognizer; name it as weights (--weights FILE)")
        for low, names in _LOWEST.items():
            for name in names.split():
                value = self._value(name)
                if value is not None and not value >= low:  # also not a number
                    raise ConfigError(f"{name} is {value}; it must be at least {low}")
        for section in ("data", "model", "clip", "optim", "run"):
            for field_name, value in vars(self._value(section)).items():
                if isinstance(value, int) and value > _LARGEST and field_name != "seed":
                    raise ConfigError(f"{section}.{field_name} is {value}; it must be at most {_LARGEST}")
        for name in _COUNTS.split():
            if (self._value(name) or 0) > _MOST:
                raise ConfigError(f"{name} is {self._value(name)}; it must be at most {_MOST}")
        if min(self.run.official_splits, default=1) < 1:
            raise ConfigError(f"run.official_splits is {self.run.official_splits}; each must be at least 1")
        if not self.optim.lr > 0:
            raise ConfigError(f"optim.lr is {self.optim.lr}; it must be above 0")
        for name in ("optim.layer_decay", "optim.distill", "clip.min_part"):
            if not 0 < (value := self._value(name)) <= 1:
                raise ConfigError(f"{name} is {value}; it must be above 0 and at most 1")
        if not 0 <= self.clip.swap_background <= 1:
            raise ConfigError(f"clip.swap_background is {self.clip.swap_background}; it must be from 0 to 1")
        if not self.optim.distill_temperature > 0:
            raise ConfigError(f"optim.distill_temperature is {self.optim.distill_temperature}; it must be above 0")
        for name in ("model.dropout", "optim.momentum", "optim.label_smoothing", "optim.ema"):
            if not 0 <= (value := self._value(name)) < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 0 and below 1")
        if self.optim.nesterov and not self.optim.momentum and self.optim.optimizer == "sgd":
            raise ConfigError("optim.nesterov needs a momentum; set optim.momentum above 0, or leave it out")
        if not 0 <= self.optim.freeze_stages <= 4:
            raise ConfigError(f"optim.freeze_stages is {self.optim.freeze_stages}; it goes from 0 to 4 (up to res4)")
        never = [stage for stage in self.model.stages if stage <= self.optim.freeze_stages]
        if never and not self.model.weights and self.model.name.startswith(("mem_", "se_tim_", "teinet_")):
            raise ConfigError(
                f"optim.freeze_stages {self.optim.freeze_stages} would freeze the untrained gates of stage "
                f"{', '.join(map(str, never))}; set model.stages to later ones"
            )
        if self.optim.recompute_bn and (self.optim.freeze_backbone or self.optim.freeze_bn == "all"):
            name = "freeze_backbone" if self.optim.freeze_backbone else "freeze_bn all"
            raise ConfigError(f"optim.{name} keeps the statistics that optim.recompute_bn would replace; set one")
        if self.optim.recompute_bn and self.optim.ema:
            raise ConfigError("optim.ema averages the statistics that optim.recompute_bn would replace; set one")
        if self.model.modality == "flow":
            for name in ("color_jitter", "rand_augment", "blur", "erase", "swap_background"):
                if self._value(f"clip.{name}"):
                    raise ConfigError(f"clip.{name} changes images, and model.modality is flow; leave it out")
        if self.optim.warmup >= self.optim.epochs:
            raise ConfigError(
                f"optim.warmup is {self.optim.warmup}; it must be below optim.epochs, {self.optim.epochs}"
            )
        self._refuse_idle_settings()
        for views in self.tests():
            check_views(Views.parse(views), self.clip.fit)
        from teinet.data.transforms import Preprocessing

        try:
            Preprocessing(size=self.clip.shape, short_side=self.clip.effective_short_side, fit=self.clip.fit)
        except ConfigError as error:
            raise ConfigError(f"clip.{error}") from None

    def _refuse_idle_settings(self) -> None:
        """Raise ConfigError at a setting that was changed but has no effect, before hours are spent."""
        idle = {
            **dict.fromkeys(_ONE_LABEL.split(), (self.data.multi_label, "data.multi_label true")),
            "optim.momentum": (self.optim.optimizer != "sgd", f"optim.optimizer {self.optim.optimizer}"),
            "optim.nesterov": (self.optim.optimizer != "sgd", f"optim.optimizer {self.optim.optimizer}"),
            "optim.warmup": (self.optim.schedule == "onecycle", "optim.schedule onecycle, which has its own"),
            "optim.gamma": (self.optim.schedule != "step", f"optim.schedule {self.optim.schedule}"),
            "optim.milestones": (self.optim.schedule != "step", f"optim.schedule {self.optim.schedule}"),
            "clip.adjacent": (self.clip.strategy != "sparse", f"clip.strategy {self.clip.strategy}"),
            "clip.window": (self.clip.strategy != "dense", f"clip.strategy {self.clip.strategy}"),
            "optim.patience": (self.run.validate_every > self.optim.epochs, "run.validate_every above optim.epochs"),
            "run.background": (self.data.multi_label, "data.multi_label true"),
            "optim.distill": (not self.optim.teachers, "no optim.teachers"),
            "optim.distill_temperature": (not self.optim.teachers, "no optim.teachers"),
            "data.test_fold": (not self.data.folds, "data.folds 0"),
            "data.official_split": (bool(self.run.official_splits), f"run.official_splits {self.run.official_splits}"),
        }
        defaults = Recipe()
        for name, (without_effect, because) in idle.items():
            if without_effect and (value := self._value(name)) != defaults._value(name):
                raise ConfigError(f"{name} {value} has no effect with {because}; leave it out")

    def _value(self, name: str) -> Any:
        """Return a setting by its name, such as optim.lr."""
        return attrgetter(name)(self)
