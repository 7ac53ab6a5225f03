"""The plan of a test: its clips, views and folder, chosen before a network is loaded."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from teinet.data.lists.data_config import MAX_DAMAGED, READ_TIMEOUT
from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import CLIP_HASH_BYTES, ClipList, select, to_clips
from teinet.data.lists.splits import DataConfig, Splits, load_splits, read_config
from teinet.data.remote import address_of
from teinet.data.views import Views
from teinet.errors import CheckpointError, ConfigError, TeinetError, nearest
from teinet.evaluation.published import Measured, Published
from teinet.evaluation.scores import METRICS, SCORES, Scores
from teinet.models.header import LAST, PRETRAINED, read_header, weights_file
from teinet.models.hub import HubAddress, is_hub_address
from teinet.utils.files import digest
from teinet.utils.signals import first_process

if TYPE_CHECKING:
    from teinet.evaluation.hardware import Hardware
    from teinet.models.exported import Engine, Precision
    from teinet.models.probabilities import Averaging


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The clips of a test and its settings.

    Args:
        data: the clips; None takes those of the recipe in the weights.
        root: another folder for the clips of that recipe.
        split: None takes the labeled test clips, else the validation clips, else all.
        select: `column=value,...`: these rows of the list, in any split.
        max_damaged: largest share of a file's frames that may be lost or damaged; None takes that of `data`.
        unlabeled: take clips without labels.
        views, averaging, backwards, batch_size, read_timeout: see `evaluate`.
        hardware: the devices; None takes the best one of this machine.
        workers: decoding processes for each device; None takes one per core, at most 8.
        engine, precision: of `Recognizer.optimize`.
    """

    data: DataConfig | None = None
    root: str | None = None
    split: Literal["train", "val", "test"] | None = None
    select: str | None = None
    max_damaged: float | None = None
    unlabeled: bool = False
    backwards: bool = False
    views: Views = field(default_factory=Views)
    averaging: Averaging = "probabilities"
    batch_size: int = 8
    workers: int | None = None
    read_timeout: float = READ_TIMEOUT
    hardware: Hardware | None = None
    engine: Engine = "eager"
    precision: Precision = "fp32"


class SelectedClips(NamedTuple):
    """The clips to test on, their name, and the list that they are from."""

    clips: ClipList
    name: str
    source: Listing


class Tested(NamedTuple):
    """The scores of a test, their folder, whether they were read from disk, and the list of clips."""

    scores: Scores
    folder: Path | None
    from_disk: bool
    source: Listing | None

    @property
    def recipe(self) -> dict[str, Any]:
        """The `row` of the network's recipe, its `published` results, and its `changed_settings`."""
        return self.scores.meta.get("recipe") or {}

    @property
    def published(self) -> list[Published]:
        """The published rows that the recipe reproduces."""
        return Published.from_header(self.recipe.get("published"))


@dataclass(frozen=True)
class Ready:
    """A test before its network is loaded.

    Args:
        weights, header: the weights file, and its header.
        chosen: the clips.
        output: the folder that was asked for.
        home: the folder of all tests of these weights; None is that of the weights.
        facts: what scores of the same test say in their `meta`.
    """

    plan: Plan
    weights: Path
    header: dict[str, Any]
    chosen: SelectedClips
    output: str | Path | None
    home: Path | None
    facts: dict[str, Any]

    @classmethod
    def of(cls, path: str | Path, plan: Plan, *, output: str | Path | None = None) -> Ready:
        """Choose the clips for the weights at `path`; raises as `choose` and `read_header`."""
        weights = weights_file(path)
        header = read_header(weights)
        chosen = choose(header, plan)
        most = chosen.clips.max_damaged
        facts = {
            "views": str(plan.views),
            "averaging": plan.averaging,
            "data": chosen.clips.fingerprint(),
            "weights_sha256": digest(weights),
            "optimized": None,
            "backwards": plan.backwards or None,
            "max_damaged": None if most == MAX_DAMAGED else most,
        }
        home = None
        if is_hub_address(path):  # the file is in the hub's cache
            home = Path("runs", re.sub(r"[^\w.=,-]+", "-", str(HubAddress.parse(path)).removeprefix("hf://")))
        return cls(plan, weights, header, chosen, output, home, facts)

    @property
    def folder(self) -> Path:
        """The folder of the results."""
        return Path(self.output) if self.output else results_folder(self.weights, self.plan, self.home)

    @property
    def as_trained(self) -> bool:
        """True if the network runs as it was trained: only such scores are kept for later tests."""
        return self.plan.engine == "eager" and self.plan.precision in ("auto", "fp32")

    def earlier(self) -> Tested | None:
        """Return the scores of an earlier test of the same weights, clips and views; None if there are none.

        Raises:
            ConfigError: `output` holds other scores.
        """
        if self.as_trained and (found := find_earlier(self.folder, self.facts)) is not None:
            if first_process() and not (self.folder / METRICS).exists():  # it was cut off while it wrote
                found.save(self.folder)
            return Tested(found, self.folder, True, self.chosen.source)
        if self.output and (self.folder / SCORES).is_file():
            raise ConfigError(
                f"{self.folder} holds another test's scores; --overwrite replaces them, another --output keeps them"
            )
        return None


def saved_scores(path: str | Path) -> Tested | None:
    """Return the scores at `path`, or in this folder of an earlier test; None if it is neither."""
    if Path(path).name == SCORES or (Path(path) / SCORES).is_file():
        return Tested(Scores.load(path), None, True, None)
    return None


def choose(header: Mapping[str, Any], plan: Plan) -> SelectedClips:
    """Return the clips of the plan, or else of the recipe in the weights.

    Raises:
        ConfigError: no clips are given, or the split or rows asked for do not exist.
        AnnotationError: the list cannot be used.
        CheckpointError: the recipe in the weights names its clips by settings that do not exist.
    """
    stored = (header.get("recipe") or {}).get("data") or {}
    config = plan.data
    if config is None:
        try:
            config = DataConfig(**stored)
        except TypeError as error:
            advice = "name the clips to test on as data (--data PATH)"
            raise CheckpointError(f"the recipe in the weights has unknown data settings ({error}); {advice}") from None
        config = replace(config, root=plan.root or config.root)
        if config.path and not (os.path.exists(config.path) or address_of(config.path)):
            reason = "no such file or folder; this path is from the run's recipe"
            raise ConfigError(f"{config.path}: {reason}: name the clips to test on as data (--data PATH)")
    else:
        if config.multi_label and not header.get("multi_label"):
            raise ConfigError("data.multi_label: this network gives one label for a clip; test it on such clips")
        config = replace(config, val_share=0.0, multi_label=bool(header.get("multi_label")))  # as it was trained
    if plan.max_damaged is not None:
        config = replace(config, max_damaged=plan.max_damaged)
    if plan.select and plan.split:
        raise ConfigError("--select and --split exclude each other; give one of them")
    if plan.select:
        listing = read_config(config)
        rows = select(listing.rows, plan.select, source=config.path)
        how = {"max_damaged": config.max_damaged, "multi_label": config.multi_label}
        clips = to_clips(rows, header["class_names"], source=config.path, **how)
        return SelectedClips(clips, plan.select, listing)
    splits = load_splits(config, header["class_names"])
    if plan.data is None:
        _refuse_other_split(header, config, splits)
    if plan.split and plan.split not in splits:
        known = f"{', '.join(splits)}.{nearest(plan.split, splits)}"
        raise ConfigError(f"{config.path} has no {plan.split} split; choose from: {known}")
    if plan.split:
        return SelectedClips(splits[plan.split], plan.split, splits.source)
    if plan.data is not None and set(splits) == {"train"}:  # a plain list or folder: all of it is to be tested
        return SelectedClips(splits["train"], "all clips", splits.source)
    # For a data set with both, papers report the validation clips.
    repeats = bool((header.get("recipe") or {}).get("published"))
    held = [s for s in (("val", "test") if repeats else ("test", "val")) if s in splits]
    labeled = [s for s in held if (splits[s].labels >= 0).any()]
    first = [s for s in held if s not in labeled] if plan.unlabeled else labeled
    wanted = first or held  # labels or not
    if not wanted:
        raise ConfigError("the run held out no clips; name the clips to test on as data (--data PATH)")
    return SelectedClips(splits[wanted[0]], wanted[0], splits.source)


def _refuse_other_split(header: Mapping[str, Any], config: DataConfig, splits: Splits) -> None:
    """Raise ConfigError if a random split is not that of the training: held-out clips may have been trained on."""
    trained = (header.get("data") or {}).get("train")
    if not trained or not splits.source.drawn or "train" not in splits:
        return
    now = splits["train"].fingerprint()
    if trained.get("sha256") != now["sha256"]:
        raise ConfigError(
            f"{config.path} has changed since training (training split of {trained.get('clips')} clips then, "
            f"{now['clips']} now), so the random split may hold out clips that the network was trained on; "
            "name unseen clips as data (--data PATH), or rows with --select"
        )


def trained_on(header: Mapping[str, Any], clips: ClipList) -> int:
    """Return how many of the clips the network was trained on, by the hashes in its file, or else its run's list."""
    then = (header.get("data") or {}).get("train") or {}
    if not then:
        return 0
    if clips.fingerprint()["sha256"] == then.get("sha256"):
        return len(clips)
    if hashes := base64.b64decode(then.get("clip_hashes") or ""):
        known = {hashes[i : i + CLIP_HASH_BYTES] for i in range(0, len(hashes), CLIP_HASH_BYTES)}
        return sum(clip in known for clip in clips.clip_hashes())
    stored = (header.get("recipe") or {}).get("data") or {}
    try:
        train = load_splits(DataConfig(**stored), header["class_names"])["train"]
    except (TeinetError, TypeError, KeyError, OSError):  # the list is missing or unknown
        return 0
    if train.fingerprint()["sha256"] != then.get("sha256"):
        return 0
    return len(_identities(train) & _identities(clips))


def _identities(clips: ClipList) -> set[tuple[str, str, str]]:
    paths = (os.path.realpath(path) for path in clips.paths)
    return set(zip(paths, map(str, clips.starts), map(str, clips.ends)))  # as text: NaN, a whole file, equals itself


def results_folder(weights: Path, plan: Plan, home: Path | None = None) -> Path:
    """Return the folder of a test's results: in `home`, or next to the weights, for a pretrained model in runs/NAME."""
    home = home or (Path("runs") / weights.stem if weights.parent == PRETRAINED else weights.parent)
    return home / folder_name(plan, "" if weights.name == LAST or home != weights.parent else weights.stem)


def folder_name(plan: Plan, weights: str = "") -> str:
    """Return the folder's name: test-1x1 for a run's last weights and held-out clips, a longer one for others."""
    data = Path(plan.data.path).absolute() if plan.data and plan.data.path else None
    asked = [weights, data and f"{data.parent.name}-{data.stem}", plan.split, plan.select]
    if plan.averaging != "probabilities":
        asked.insert(0, plan.averaging)
    if plan.data and data and plan.data.official_split != 1:
        asked.append(f"split-{plan.data.official_split}")
    if plan.backwards:
        asked.append("backwards")
    if plan.unlabeled:
        asked.append("unlabeled")
    return re.sub(r"[^\w.=,-]+", "-", "-".join(["test", str(plan.views), *filter(None, asked)]))


def measured(scores: Scores) -> Measured:
    """Return the results of a test as in a paper's tables."""
    views = str(scores.meta.get("views", "1x1"))
    members = scores.meta.get("members") or [scores.meta]
    costs: list[float | None] = [member.get("gmacs") for member in members]
    return Measured(
        top1=scores.accuracy,
        top5=scores.top5 if scores.top5_k == 5 and scores.label_sets is None else None,
        views=views,
        num_views=len(Views.parse(views)),
        gmacs=None if None in costs else sum(cost or 0.0 for cost in costs),
    )


def find_earlier(folder: Path, wanted: dict) -> Scores | None:
    """Return the scores of an earlier test, if it has the same weights, clips and views; else None."""
    if not (folder / SCORES).is_file():
        return None
    try:
        scores = Scores.load(folder)
    except (CheckpointError, ConfigError):  # damaged, or of another version: run it again
        return None
    return scores if all(scores.meta.get(key) == value for key, value in wanted.items()) else None
