"""Probabilities from logits: the one place that averages views, applies softmax or sigmoid and checks the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from teinet.errors import CheckpointError, ConfigError
from teinet.utils.arrays import to_array

if TYPE_CHECKING:
    from torch import Tensor

Averaging = Literal["probabilities", "logits"]


def to_probabilities(
    logits: Tensor | np.ndarray,
    averaging: Averaging | None = None,
    *,
    allow_nan: bool = False,
    multi_label: bool = False,
) -> np.ndarray:
    """Return float32 probabilities, (..., classes).

    Args:
        logits: (..., classes), or (..., V, classes) of a video's V views.
        averaging: mean of the views' "probabilities", after the softmax, or "logits", before it (as TSM's code);
            None if there are no views.
        allow_nan: return scores that are not finite too, for callers that report the clip.
        multi_label: apply the sigmoid to each class by itself, in place of the softmax.

    Raises:
        ConfigError: an averaging that does not exist.
        CheckpointError: the scores are not finite (damaged weights, overflow).
    """
    check_averaging(averaging)
    scores = to_array(logits).astype(np.float64)
    if averaging == "logits":
        scores = scores.mean(-2)
    with np.errstate(invalid="ignore"):  # infinite logits
        if multi_label:
            scores = np.where(np.isfinite(scores), np.exp(-np.logaddexp(0, -scores)), np.nan)
        else:
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
    if averaging == "probabilities":
        scores = scores.mean(-2)
    if not (allow_nan or np.isfinite(scores).all()):
        raise CheckpointError("the model's scores are not finite: its weights are damaged, or its training diverged")
    return scores.astype(np.float32)


def check_averaging(averaging: str | None) -> None:
    """Raise ConfigError for an averaging that does not exist."""
    if averaging not in (None, "probabilities", "logits"):
        raise ConfigError(f"averaging is {averaging!r}; it must be 'probabilities' or 'logits'")
