"""A recognizer for a few hundred clips: a frozen backbone, and the linear head that does best on folds of the clips."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, pstdev
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.rows import ClipList, PackedTexts
from teinet.data.lists.splits import load_splits
from teinet.data.sampling import Sampling, typical_frame_interval, typical_whole_frame
from teinet.data.transforms import Preprocessing
from teinet.errors import CheckpointError, ConfigError, RunError
from teinet.models.classifier import VideoClassifier
from teinet.models.consensus import in_parts
from teinet.models.factory import create_model
from teinet.probing.clip_features import ClipFeatures, clip_features
from teinet.probing.nested_folds import Candidate, HeadComparison, compare, fit_head
from teinet.recognition.recognizer import Recognizer
from teinet.utils.progress import file_progress
from teinet.utils.text import count

log = logging.getLogger("teinet")

Head = Literal["average", "motion", "temporal", "difference", "temporal_difference"]
HEADS: tuple[Head, ...] = ("average", "motion", "temporal", "difference", "temporal_difference")
CAUSAL_HEADS: tuple[Head, ...] = ("average", "motion", "difference")
SHORT_SIDE = 120  # pixels, of the whole frame
_MANY = 500  # clips, from which on one draw of the folds is enough


@dataclass(kw_only=True)
class ProbeSettings:
    """The clips, backbone and heads of a probe.

    Args:
        data: the clips; `data.group` names the column that is kept whole in a fold. Clips of a test split choose
            nothing, and the recognizer is tested on them.
        backbone: timm's name of the frozen 2-D network.
        backbone_weights: its weights; None downloads ImageNet's.
        num_frames: frames of a clip, spread over it, at least 2.
        size: height and width of the frames, pixels; None: the whole frame, with a short side of 120.
        heads: those to compare, see `create_model`.
        causal: the form for live video, frame by frame; without the heads that see a whole clip in order.
        folds: at least 2; fewer if there are fewer groups.
        shuffles: how often the folds are drawn, at least 1; None is 5, and 1 of more than 500 clips.
        seed: of the folds.
        device: of the backbone.
        workers: processes that decode and run the backbone; 0 is this one.
        read_timeout: seconds that reading one clip may take.
    """

    data: DataConfig
    backbone: str = "tf_efficientnet_lite0"
    backbone_weights: str | None = None
    num_frames: int = 16
    size: tuple[int, int] | None = None
    heads: Sequence[Head] = HEADS
    causal: bool = False
    folds: int = 5
    shuffles: int | None = None
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    read_timeout: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Probed:
    """The result of a probe.

    Args:
        recognizer: the backbone with the chosen head, fitted on all clips but those of a test split.
        comparison: the accuracies by folds.
        labels: (N,) of the clips compared, as indices of the recognizer's classes.
        test_accuracy: on the clips of the test split, 0 to 1; None without one.
        features, test_features: of these clips, and what could not be read.
        groups: the number of groups; 0 if nothing was kept together.
        seconds: by part of the work.
    """

    recognizer: Recognizer
    comparison: HeadComparison
    labels: np.ndarray
    test_accuracy: float | None
    features: ClipFeatures
    test_features: ClipFeatures | None
    groups: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Path and reason of each clip that cannot be read."""
        return self.features.unreadable + (self.test_features.unreadable if self.test_features else [])

    def recall(self) -> dict[str, float]:
        """Return the share of each class's clips that is recognized on folds, mean of the shuffles."""
        right = (self.comparison.predictions == self.labels).mean(0)
        names = self.recognizer.class_names
        return {name: float(right[self.labels == i].mean()) for i, name in enumerate(names) if i in self.labels}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        found = self.comparison
        return {
            "clips": len(self.labels),
            "classes": len(self.recognizer.class_names),
            "groups": self.groups or None,
            "folds": found.folds,
            "shuffles": len(found.nested),
            "candidates": [
                {"head": c.head, "strength": c.strength, "accuracies": each, "chosen": c == found.chosen}
                for c, each in found.candidates.items()
            ],
            "nested_accuracies": found.nested,
            "nested_accuracy": mean(found.nested),
            "recall": self.recall(),
            "test_accuracy": self.test_accuracy,
            "known_clips": self.features.known,
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
            "seconds": {part: round(seconds, 1) for part, seconds in self.seconds.items()},
        }


def probe(settings: ProbeSettings, *, console: Console | None = None) -> Probed:
    """Compute features of all clips, choose the head by nested folds, and fit it on all of them.

    Args:
        console: shows progress.

    Raises:
        ConfigError: a setting out of its range, or clips that cannot be split.
        RunError: no clip can be read.
        TeinetError: a list, weights or a device that cannot be used, Ctrl-C.
    """
    splits = load_splits(replace(settings.data, val_share=0.0))
    clips = _joined([splits[name] for name in ("train", "val") if name in splits])
    if clips is None:
        raise ConfigError(f"{settings.data.path}: all clips are of the test split; the head is fitted on others")
    held_out = _joined([splits["test"]] if "test" in splits else [])
    return probe_clips(settings, clips, held_out, console=console)


def probe_clips(
    settings: ProbeSettings, clips: ClipList, held_out: ClipList | None, *, console: Console | None = None
) -> Probed:
    """Choose the head by folds of labeled `clips` and fit it on them, as `probe` does; `held_out` clips test it."""
    _check(settings)
    frozen = _frozen(settings, clips)
    began = time.perf_counter()
    how = {"device": settings.device, "workers": settings.workers, "timeout": settings.read_timeout}
    features = _readable_features(frozen, clips, console=console, **how)
    test = None if held_out is None else clip_features(frozen, held_out, console=console, **how)
    computed = time.perf_counter()
    labels = clips.labels[features.indices]
    groups = np.array([clips.groups[i] for i in features.indices]) if len(clips.groups) else None
    shuffles = settings.shuffles or (5 if len(labels) <= _MANY else 1)
    by_head = {head: vectors(head, features.values, frozen.model.sees_differences) for head in settings.heads}
    with file_progress(console, "comparing heads", settings.folds * shuffles, unit="folds") as advance:
        found = compare(
            by_head, labels, groups, folds=settings.folds, shuffles=shuffles, seed=settings.seed,
            on_fold=lambda: advance(""),
        )  # fmt: skip
    model, accuracy = _fitted(frozen.model, found.chosen, clips, features, held_out, test)
    seconds = {"features": computed - began, "comparison": time.perf_counter() - computed}
    probed = Probed(
        recognizer=frozen, comparison=found, labels=labels, test_accuracy=accuracy, features=features,
        test_features=test, groups=0 if groups is None else len(np.unique(groups)), seconds=seconds,
    )  # fmt: skip
    recognizer = Recognizer(
        model,
        clips.class_names,
        preprocessing=frozen.preprocessing,
        sampling=frozen.sampling,
        header=_header(settings, probed, clips, held_out),
    )
    return replace(probed, recognizer=recognizer)


def fit_again(
    path: str,
    clips: ClipList,
    held_out: ClipList,
    *,
    device: str,
    workers: int,
    read_timeout: float,
    console: Console | None = None,
) -> tuple[Recognizer, float]:
    """Return a probe's recognizer with its head fitted on `clips` alone, and its accuracy on those held out, 0 to 1.

    The kind of head and the strength stay. Features that were kept are not computed again.

    Args:
        path: of the probe's weights file.

    Raises:
        CheckpointError: the file cannot be read, or does not say by which strength.
        RunError: no clip can be read.
        TeinetError: Ctrl-C, a device that cannot be used.
        OSError: the cache folder cannot be written.
    """
    probe = Recognizer.load(path, device="cpu")
    head = (probe.model.config or {}).get("consensus")
    told = probe.header.get("probe")
    strength, heads = (told.get("strength"), told.get("heads", [head])) if isinstance(told, dict) else (None, None)
    if head not in HEADS or not isinstance(strength, (int, float)) or strength <= 0 or not isinstance(heads, list):
        raise CheckpointError(f"{path}: its teinet header is damaged (probe)")
    pooling = _pooling([head, *map(str, heads)])  # as in the probe, whose features are kept
    model = _rebuilt(probe.model, num_classes=1, consensus=pooling)
    frozen = Recognizer(model, ["none"], preprocessing=probe.preprocessing, sampling=probe.sampling)
    how = {"device": device, "workers": workers, "timeout": read_timeout, "console": console}
    features = _readable_features(frozen, clips, **how)
    test = clip_features(frozen, held_out, **how)
    fitted, accuracy = _fitted(model, Candidate(head, strength), clips, features, held_out, test)
    same = {"preprocessing": probe.preprocessing, "sampling": probe.sampling, "header": probe.header}
    return Recognizer(fitted, clips.class_names, **same), accuracy or 0.0


def _readable_features(frozen: Recognizer, clips: ClipList, **how: Any) -> ClipFeatures:
    features = clip_features(frozen, clips, **how)
    if not len(features.values):
        path, reason = features.unreadable[0]
        raise RunError(f"no clip can be read; the first: {path}: {reason}")
    return features


def _fitted(
    frozen: VideoClassifier,
    best: Candidate,
    clips: ClipList,
    features: ClipFeatures,
    held_out: ClipList | None,
    test: ClipFeatures | None,
) -> tuple[VideoClassifier, float | None]:
    """Return the network with the head fitted on `clips`, and its accuracy on those held out; None without any."""
    labels = clips.labels[features.indices]
    differences = frozen.sees_differences
    fit = fit_head(vectors(best.head, features.values, differences), labels, len(clips.class_names), best.strength)
    accuracy = None
    if held_out is not None and test is not None and len(test.values):
        said = fit.logits(vectors(best.head, test.values, differences)).argmax(1)
        right = said == held_out.labels[test.indices]
        accuracy = float(right.sum() / len(held_out))  # an unreadable clip counts as wrong, as in a test
    return _with_head(frozen, best.head, fit.weight, fit.bias), accuracy


def vectors(head: str, features: np.ndarray, differences: bool = False) -> np.ndarray:
    """Return what a head's linear layer takes of each clip, (N, D').

    Args:
        features: of motion pooling, (N, T, 3C).
        differences: whether those of the differences from the frame before follow, (N, T, 6C); heads that do not see
            these take the first half.
    """
    if differences and not head.endswith("difference"):
        features = features[..., : features.shape[2] // 2]
    if head == "average":
        features = features[..., : features.shape[2] // 3]
    if not head.startswith("temporal"):
        return features.mean(1, dtype=np.float32)
    return np.concatenate([in_parts(torch.from_numpy(part).float()).numpy() for part in np.array_split(features, 64)])


def _pooling(heads: Sequence[str]) -> Literal["motion", "difference"]:
    """Return the consensus of the frozen network that gives the features of all these heads."""
    return "difference" if any(head.endswith("difference") for head in heads) else "motion"


def _check(settings: ProbeSettings) -> None:
    if settings.data.multi_label:
        raise ConfigError("a probe fits a head of one class for a clip; for data.multi_label train a network")
    if settings.num_frames < 2:
        raise ConfigError(f"num_frames is {settings.num_frames}; it must be at least 2, to see what changes")
    if not settings.heads or (odd := [head for head in settings.heads if head not in HEADS]):
        raise ConfigError(f"heads are some of {', '.join(HEADS)}; got {', '.join(odd) if settings.heads else 'none'}")
    if settings.causal and (whole := [head for head in settings.heads if head not in CAUSAL_HEADS]):
        raise ConfigError(
            f"head {whole[0]} has no causal form: it looks at all frames of a clip; leave one of them out"
        )


def _joined(lists: Sequence[ClipList]) -> ClipList | None:
    """Return the labeled clips of several splits as one list; None if there are none."""
    kept = [(each, i) for each in lists for i in range(len(each)) if each.labels[i] >= 0]
    if not kept:
        return None

    def texts(name: str) -> Sequence[str]:
        return PackedTexts(getattr(each, name)[i] for each, i in kept) if len(getattr(lists[0], name)) else ()

    arrays = {name: np.array([getattr(each, name)[i] for each, i in kept]) for name in ("labels", "starts", "ends")}
    return replace(lists[0], paths=texts("paths"), names=texts("names"), groups=texts("groups"), **arrays)


def _frozen(settings: ProbeSettings, clips: ClipList) -> Recognizer:
    """Return the backbone with motion pooling, as a recognizer with one class that means nothing."""
    model = create_model(
        f"tsn_{settings.backbone}",
        num_classes=1,
        num_frames=settings.num_frames,
        pretrained=settings.backbone_weights is None,
        backbone_weights=settings.backbone_weights,
        dropout=0.0,
        consensus=_pooling(settings.heads),
        causal=settings.causal,
    )
    height, width = settings.size or typical_whole_frame(clips, SHORT_SIDE)
    preprocessing = Preprocessing(
        size=(height, width), short_side=min(height, width), fit="squash", **model.data_config
    )
    return Recognizer(model, ["none"], preprocessing=preprocessing, sampling=Sampling(num_frames=settings.num_frames))


def _with_head(frozen: VideoClassifier, head: str, weight: np.ndarray, bias: np.ndarray) -> VideoClassifier:
    """Return the network of a head with the frozen backbone's weights and these of the head."""
    model = _rebuilt(frozen, num_classes=len(weight), consensus=head)
    last = model.head.get_submodule("fc") if model.consensus is not None else model.head
    last.load_state_dict({"weight": torch.from_numpy(weight).float(), "bias": torch.from_numpy(bias).float()})
    return model


def _rebuilt(model: VideoClassifier, **changes: Any) -> VideoClassifier:
    """Return a network with the same 2-D weights and another head."""
    other = create_model(**{**(model.config or {}), **changes})
    other.set_pixels(model.data_config["mean"], model.data_config["std"])
    own, new = f"{model.head_name}.", f"{other.head_name}."
    trunk = {key: value for key, value in model.state_dict().items() if not key.startswith(own)}
    head = {key: value for key, value in other.state_dict().items() if key.startswith(new)}
    other.load_state_dict(trunk | head)
    return other


def _told(settings: ProbeSettings) -> dict[str, Any]:
    """Return the settings that a header names: what the result depends on, and nothing of this machine."""
    names = ("backbone", "num_frames", "causal", "folds", "seed")
    told = {name: getattr(settings, name) for name in names}
    return {**told, "heads": list(settings.heads), "group": settings.data.group}


def _header(settings: ProbeSettings, found: Probed, clips: ClipList, test: ClipList | None) -> dict[str, Any]:
    comparison = found.comparison
    nested, head = comparison.nested, comparison.chosen.head
    kept = f" that keep {settings.data.group} together" if settings.data.group else ""
    spread = f", standard deviation {100 * pstdev(nested):.1f}" if len(nested) > 1 else ""
    most = max(Counter(found.labels.tolist()).values()) / len(found.labels)
    figures = (
        f"top-1 {100 * mean(nested):.1f} % on {comparison.folds} folds{kept} ({count(len(nested), 'draw')}{spread}; "
        f"the head was chosen inside each fold; always answering the most frequent class: {100 * most:.0f} %)"
    )
    scores = {"folds_top1": round(mean(nested), 6)}
    if found.test_accuracy is not None:
        scores["test_top1"] = round(found.test_accuracy, 6)
        figures += f"; {100 * found.test_accuracy:.1f} % on {len(test or ())} test clips"
    data = {"train": {**clips.fingerprint(), "clip_hashes": clips.packed_hashes()}}
    return {
        "scores": scores,
        "frame_interval": typical_frame_interval(clips, found.recognizer.sampling),
        "card": {
            "title": f"{len(clips.class_names)} classes, by {settings.backbone} as it is and a new head ({head})",
            "figures": figures,
        },
        "probe": {**_told(settings), "head": head, "strength": comparison.chosen.strength},
        "data": data | ({"test": test.fingerprint()} if test is not None else {}),
    }
