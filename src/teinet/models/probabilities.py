"""Probabilities from logits: the one place that averages views, applies the softmax and checks the result."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from teinet.errors import CheckpointError, ConfigError

Averaging = Literal["probabilities", "logits"]


def to_probabilities(logits: Tensor, averaging: Averaging | None = None, *, allow_nan: bool = False) -> np.ndarray:
    """Return float32 probabilities, (..., classes).

    Args:
        logits: (..., classes), or (..., V, classes) of a video's V views.
        averaging: mean of the views' "probabilities", after the softmax, or "logits", before it (as TSM's code);
            None if there are no views.
        allow_nan: return scores that are not finite too, for callers that report the clip.

    Raises:
        ConfigError: an averaging that does not exist.
        CheckpointError: the scores are not finite (damaged weights, overflow).
    """
    check_averaging(averaging)
    scores = logits.detach().cpu().double()
    if averaging == "logits":
        scores = scores.mean(-2)
    scores = scores.softmax(-1)
    if averaging == "probabilities":
        scores = scores.mean(-2)
    if not (allow_nan or scores.isfinite().all()):
        raise CheckpointError("the model's scores are not finite: its weights are damaged, or its training diverged")
    return scores.float().numpy()


def check_averaging(averaging: str | None) -> None:
    """Raise ConfigError for an averaging that does not exist."""
    if averaging not in (None, "probabilities", "logits"):
        raise ConfigError(f"averaging is {averaging!r}; it must be 'probabilities' or 'logits'")
