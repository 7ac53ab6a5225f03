"""Linear heads on features of clips, chosen and measured by nested folds that keep groups whole.

A fold's clips choose nothing of what is measured on them: in each fold, head and strength are chosen by folds of the
other clips alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from teinet.errors import ConfigError

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
INNER_FOLDS = 3
_MOST_STEPS = 300  # of the solver; more change no prediction


@dataclass(frozen=True, order=True)
class Candidate:
    """A head, and C of scikit-learn's logistic regression, for features with a mean square of 1/D.

    A larger one is less regularization.
    """

    head: str
    strength: float


@dataclass(frozen=True)
class LinearHead:
    """logits = features @ weight.T + bias; weight (classes, D), bias (classes,)."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (N, classes) of features (N, D)."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True, kw_only=True)
class HeadComparison:
    """Accuracies, 0 to 1, of candidates over shuffled folds.

    Args:
        candidates: the accuracy over all clips, by candidate and shuffle.
        nested: the same of the whole procedure, choice included, by shuffle.
        predictions: (shuffles, N) class of each clip by the whole procedure; -1 for none.
        chosen: the candidate with the least loss over all folds.
        folds: their number.
    """

    candidates: dict[Candidate, list[float]]
    nested: list[float]
    predictions: np.ndarray
    chosen: Candidate
    folds: int


def compare(
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    folds: int = 5,
    shuffles: int = 5,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
    on_fold: Callable[[], object] = lambda: None,
) -> HeadComparison:
    """Compare all heads and strengths.

    Args:
        features: (N, D) by head.
        labels: (N,) classes, counted from 0.
        groups: (N,) what stays in one fold; None keeps nothing together.
        folds: at least 2; of fewer groups as many as there are.
        shuffles: how often the folds are drawn, at least 1; once where each fold is one group.
        on_fold: called after each fold.

    Raises:
        ConfigError: clips of one class, or of one group, or of one class outside any fold; fewer than 2 folds or 1
            shuffle.
    """
    if folds < 2 or shuffles < 1:
        raise ConfigError(f"folds are {folds} and shuffles {shuffles}; they must be at least 2 and 1")
    if len(np.unique(labels)) < 2:
        raise ConfigError("all clips are of one class; a head needs at least two classes to tell apart")
    folds = _number(folds, labels, groups)
    if groups is not None and folds == len(np.unique(groups)):  # every draw would be the same
        shuffles = 1
    classes = int(labels.max()) + 1
    candidates = [Candidate(head, strength) for head in features for strength in strengths]
    right = np.zeros((len(candidates), shuffles, len(labels)), bool)
    losses = np.zeros((len(candidates), shuffles, len(labels)))
    predictions = np.full((shuffles, len(labels)), -1)  # of a fold whose other clips are of one class, none
    for shuffle in range(shuffles):
        for train, test in _split(folds, labels, groups, seed + shuffle):
            inner = list(_split(INNER_FOLDS, labels[train], None if groups is None else groups[train], seed + shuffle))
            inner_loss, answers = [], []
            for values in features.values():
                space = _Space(values[train].astype(np.float32))
                outer = space.of(values[test].astype(np.float32))
                for strength in strengths:
                    fit = _fit(space.clips, labels[train], strength, classes)
                    answers.append(log_softmax(outer @ fit.weight.T + fit.bias, axis=1))
                    losses_within = []
                    for some, others in inner:
                        part = _fit(space.clips[some], labels[train][some], strength, classes)
                        said = log_softmax(part.logits(space.clips[others]), axis=1)
                        losses_within.append(-said[np.arange(len(others)), labels[train][others]])
                    inner_loss.append(float(np.concatenate(losses_within).mean()) if inner else 0.0)
            for number, said in enumerate(answers):
                right[number, shuffle, test] = said.argmax(1) == labels[test]
                losses[number, shuffle, test] = -said[np.arange(len(test)), labels[test]]
            predictions[shuffle, test] = answers[int(np.argmin(inner_loss))].argmax(1)
            on_fold()
    if (predictions < 0).all():
        raise ConfigError("no fold can be measured: without any one of them, clips of one class are left")
    return HeadComparison(
        candidates={c: right[i].mean(1).tolist() for i, c in enumerate(candidates)},
        nested=(predictions == labels).mean(1).tolist(),
        predictions=predictions,
        chosen=candidates[int(np.argmin(losses.mean((1, 2))))],
        folds=folds,
    )


def fit_head(features: np.ndarray, labels: np.ndarray, num_classes: int, strength: float) -> LinearHead:
    """Return the head fitted on all clips: features (N, D), labels (N,) from 0; a class without clips gets no score."""
    space = _Space(features.astype(np.float32))
    fit = _fit(space.clips, labels, strength, num_classes)
    weight = fit.weight @ space.basis.T / space.scale  # of the features as they are
    return LinearHead(weight, fit.bias - weight @ space.mean)


class _Space:
    """Standardized features of N clips in the at most N dimensions that they span, in which any linear head lies."""

    def __init__(self, features: np.ndarray):
        self.mean = features.mean(0)
        spread = features.std(0)
        least = 1e-6 * max(float(spread.max()), 1e-12)  # below, a feature is the same in all clips
        self.scale = np.where(spread > least, spread, np.inf) * features.shape[1] ** 0.5
        centered = (features - self.mean) / self.scale
        values, vectors = np.linalg.eigh((centered @ centered.T).astype(np.float64))
        kept = values > 1e-6 * max(float(values[-1]), 1e-12)
        roots = np.sqrt(values[kept])
        self.clips = vectors[:, kept] * roots  # (N, R)
        self.basis = centered.T @ (vectors[:, kept] / roots)  # (D, R), orthonormal

    def of(self, features: np.ndarray) -> np.ndarray:
        """Return other clips' features (M, D) in this space, (M, R)."""
        return ((features - self.mean) / self.scale) @ self.basis


def _fit(clips: np.ndarray, labels: np.ndarray, strength: float, num_classes: int) -> LinearHead:
    weight, bias = np.zeros((num_classes, clips.shape[1])), np.full(num_classes, -30.0)  # a class without clips: none
    model = LogisticRegression(C=strength, max_iter=_MOST_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: the next steps change no prediction
        model.fit(clips, labels)
    if len(model.classes_) == 2:  # scikit-learn gives the second one's logit alone
        weight[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return LinearHead(weight, bias)


def _number(folds: int, labels: np.ndarray, groups: np.ndarray | None) -> int:
    kept = len(labels) if groups is None else len(np.unique(groups))
    if kept < 2:
        raise ConfigError("all clips are of one group; folds need at least two")
    return min(folds, kept)


def _split(
    folds: int, labels: np.ndarray, groups: np.ndarray | None, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clips to fit on and the others; of one group alone, clips are split; none of one clip a class."""
    if groups is not None and len(np.unique(groups)) < 2:
        groups = None
    # a class of which each clip is in another fold is known to all of them
    number = min(_number(folds, labels, groups), int(np.bincount(labels).max()))
    if number < 2:
        return
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than folds is missing from some
        for train, test in kind(number, shuffle=True, random_state=seed).split(labels, labels, groups):
            if len(test) and len(np.unique(labels[train])) > 1:
                yield train, test
