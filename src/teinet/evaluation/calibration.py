"""Temperature scaling, and the score below which an answer is better not given; both chosen by labeled clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from torch import nn

from teinet.errors import ConfigError
from teinet.evaluation.scores import Scores
from teinet.models.consensus import Relation
from teinet.recognition.recognizer import Recognizer

KEPT = 0.95  # share of the right answers that the score to ask for keeps
_BINS = 15
_LEAST = 1e-38  # of a probability, whose logarithm is then finite


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The changes of a calibration, on the clips that chose it.

    Args:
        clips: their number.
        temperature: by which logits are divided.
        error_before, error_after: expected calibration error, 0 to 1, see `calibration_error`.
        min_score: the score from which on an answer is given; below it the clip shows none of the classes.
        answered: share of the clips with an answer at this score.
        right: share of these answers that are right.
    """

    clips: int
    temperature: float
    error_before: float
    error_after: float
    min_score: float
    answered: float
    right: float


def calibrate(recognizer: Recognizer, scores: Scores) -> Calibration:
    """Scale a recognizer's last layer so that its scores are probabilities, and note the result in its header.

    The temperature minimizes the negative log likelihood of the labels; top-1 stays the same. Source: Guo et al.,
    https://arxiv.org/abs/1706.04599.

    Args:
        scores: of this recognizer on labeled clips that it was not trained on, one view each.

    Raises:
        ConfigError: fewer than two clips, several labels for a clip, or a network without a linear last layer.
    """
    if recognizer.multi_label:
        raise ConfigError("clips have several labels; each class has its own threshold, chosen in training")
    kept = scores.readable & (scores.labels >= 0)
    probabilities, labels = scores.probabilities[kept], scores.labels[kept]
    if len(labels) < 2:
        raise ConfigError(f"{len(labels)} labeled clips can be read; calibrating needs two at least, better hundreds")
    temperature = fit_temperature(probabilities, labels)
    layers = _last_layers(recognizer)
    after = soften(probabilities, temperature)
    best, right = after.max(1), after.argmax(1) == labels
    least = float(np.quantile(best[right], 1 - KEPT)) if right.any() else 0.0
    given = best >= least
    found = Calibration(
        clips=len(labels),
        temperature=round(temperature, 6),
        error_before=round(calibration_error(probabilities, labels), 6),
        error_after=round(calibration_error(after, labels), 6),
        min_score=round(least, 6),
        answered=round(float(given.mean()), 6),
        right=round(float(right[given].mean()), 6),
    )
    for layer in layers:
        for parameter in layer.parameters():
            parameter.data /= temperature
    recognizer.header["calibration"] = asdict(found)
    return found


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, 0.05 to 20, with the smallest negative log likelihood of labels (N,) of (N, classes)."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(np.log(np.maximum(soften(probabilities, np.exp(log_temperature))[rows, labels], _LEAST)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities (N, classes) that the same logits divided by a temperature give."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error, 0 to 1: |accuracy - score| over 15 equal ranges of the best score."""
    best, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(best * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = [abs(float((right[bins == i] - best[bins == i]).sum())) for i in np.unique(bins)]
    return sum(gaps) / len(labels)


def _last_layers(recognizer: Recognizer) -> list[nn.Module]:
    """Return the linear layers whose outputs, summed or averaged, are the logits."""
    head = recognizer.model.head
    if isinstance(head, Relation):
        return [net[-1] for net in head.fc_fusion_scales if isinstance(net, nn.Sequential)]
    linear: list[nn.Module] = [
        module for module in head.modules() if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d))
    ]
    if not linear:
        raise ConfigError("the network's last layer is not linear, so its scores cannot be scaled")
    return linear[-1:]
