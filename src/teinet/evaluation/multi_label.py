"""Metrics of clips with several labels: average precision, and the thresholds that make answers of scores."""

from __future__ import annotations

import math

import numpy as np

USUAL_THRESHOLD = 0.5  # of a class that no validation clip has


def average_precision(label_sets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the average precision of each class, (C,) from 0 to 1; NaN for a class that no clip has.

    The mean, over a class's clips, of the precision among the clips with no lower score, as in PASCAL VOC 2012.

    Args:
        label_sets: (N, C) bool, the true classes of each clip.
        probabilities: (N, C).
    """
    from sklearn.metrics import average_precision_score

    pairs = zip(label_sets.T, probabilities.T)
    return np.array([average_precision_score(own, scores) if own.any() else np.nan for own, scores in pairs])


def best_thresholds(label_sets: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """Return the threshold of each class, 0 to 1, from which on answers have the best F1; 0.5 if no clip has the class.

    Arguments are those of `average_precision`.
    """
    from sklearn.metrics import precision_recall_curve

    found = []
    for own, scores in zip(label_sets.T, probabilities.T):
        if not own.any():
            found.append(USUAL_THRESHOLD)
            continue
        precision, recall, thresholds = precision_recall_curve(own, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        # rounded down, so that the score itself is above it; the last point of the curve is no threshold
        found.append(math.floor(1e6 * float(thresholds[f1[:-1].argmax()])) / 1e6)
    return found
