"""What cells say together: means over folds and seeds, their spread, and differences clip by clip with intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class Mean:
    """A mean of top-1 over folds, 0 to 1.

    Args:
        value: the mean over folds of the mean over seeds.
        over_folds: standard deviation of the folds' means; nan for one fold.
        over_seeds: standard deviation of a fold's seeds, pooled over the folds; nan for one seed.
        cells: how many went in.
    """

    value: float
    over_folds: float
    over_seeds: float
    cells: int


def mean(top1: dict[tuple[str, int], float]) -> Mean:
    """The mean of cells' top-1 by (fold, seed); all nan where there is none."""
    folds: dict[str, list[float]] = {}
    for (fold, _), value in top1.items():
        folds.setdefault(fold, []).append(value)
    means = [float(np.mean(values)) for values in folds.values()]
    repeated = [values for values in folds.values() if len(values) > 1]
    within = [np.var(values, ddof=1) for values in repeated]
    weights = [len(values) - 1 for values in repeated]
    return Mean(
        value=float(np.mean(means)) if means else float("nan"),
        over_folds=float(np.std(means, ddof=1)) if len(means) > 1 else float("nan"),
        over_seeds=float(np.sqrt(np.average(within, weights=weights))) if repeated else float("nan"),
        cells=len(top1),
    )


@dataclass(frozen=True)
class Difference:
    """The difference between two networks' accuracies, as a share of clips, and its 95 % interval."""

    value: float
    low: float
    high: float
    clips: int
    clusters: int


def paired_difference(
    ours: np.ndarray, theirs: np.ndarray, clusters: Sequence[Hashable], *, draws: int = 10_000, seed: int = 0
) -> Difference:
    """The mean difference on the same clips, with the interval of a bootstrap over whole clusters.

    Clips of one person and action, or of one recording, fail together; drawn one by one they would make the interval
    too short.

    Args:
        ours, theirs: (N,) share of seeds in which the clip was recognized correctly, 0 to 1.
        clusters: N values; clips of equal ones are drawn together.
        draws: bootstrap samples.
        seed: of the draws.

    Raises:
        ValueError: no clips, or unequal numbers of them.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if not len(ours) == len(theirs) == len(clusters) or not len(ours):
        raise ValueError(f"{len(ours)}, {len(theirs)} and {len(clusters)} clips")
    number = {value: i for i, value in enumerate(dict.fromkeys(clusters))}
    index = np.array([number[value] for value in clusters])
    sums = np.bincount(index, weights=ours - theirs)  # (G,)
    sizes = np.bincount(index)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)  # (draws, G): how often each
    low, high = np.percentile((drawn @ sums) / (drawn @ sizes), (2.5, 97.5))
    return Difference(float((ours - theirs).mean()), float(low), float(high), len(ours), len(sums))


def difference_over_folds(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """The mean of the folds' paired differences and its 95 % interval by Student's t; the interval is nan for one fold.

    A fold is one trained network and its own people or recordings, so its clips are no independent witnesses: this
    interval asks whether other folds would say the same, and is wider than that of `paired_difference`.

    Args:
        ours, theirs: (F,) top-1 of the same folds, 0 to 1.

    Raises:
        ValueError: no folds, or unequal numbers of them.
    """
    apart = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if not len(apart):
        raise ValueError("no folds")
    middle = float(apart.mean())
    if len(apart) == 1:
        return middle, float("nan"), float("nan")
    reach = float(student.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart)))
    return middle, middle - reach, middle + reach


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error, 0 to 1: |confidence - accuracy| over equally filled bins, weighted by their clips.

    Args:
        confidence: (N,) probability of the predicted class.
        right: (N,) whether the prediction was right.
        bins: how many, at least 1.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (there with bins of equal width).
    """
    bars = reliability(confidence, right, bins)
    return float(sum(abs(bar.confidence - bar.accuracy) * bar.clips for bar in bars) / max(len(confidence), 1))


def calibration_floor(confidence: np.ndarray, bins: int = 10, *, draws: int = 500, seed: int = 0) -> float:
    """What `calibration_error` gives on average where every probability is exactly true, 0 to 1.

    With few clips in a bin the shares differ from the probabilities by chance alone, so the error is never zero.

    Args:
        confidence: (N,) probability of the predicted class.
        bins: how many, at least 1.
        draws: simulated tests.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    return float(
        np.mean([calibration_error(confidence, rng.random(len(confidence)) < confidence, bins) for _ in range(draws)])
    )


class Bar(NamedTuple):
    """Clips of about one confidence: its mean, their accuracy, how many."""

    confidence: float
    accuracy: float
    clips: int


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[Bar]:
    """How often predictions of about one confidence are right, in equally filled bins, from unsure to sure.

    Args:
        confidence: (N,) probability of the predicted class.
        right: (N,) whether the prediction was right.
        bins: how many at most, at least 1.
    """
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return [
        Bar(float(np.mean(confidence[part])), float(np.mean(right[part])), len(part)) for part in parts if len(part)
    ]
