"""Scores that are numbers, or an error: damaged weights and overflow would else say that nothing happens."""

from __future__ import annotations

import numpy as np

from teinet.errors import CheckpointError


def checked(scores: np.ndarray) -> np.ndarray:
    """Scores as they are.

    Raises:
        CheckpointError: they are no numbers.
    """
    if not np.isfinite(scores).all():
        raise CheckpointError("the network's scores are no numbers: its weights are damaged, or training failed")
    return scores
