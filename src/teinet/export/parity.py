"""Comparison of an exported file's answers with those of the network that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from teinet.errors import RunError

LOGITS = 1e-5  # largest difference in fp32, of the largest logit
AGREEMENT = 0.9  # smallest share of clips with the same top-1 class below fp32; one that is no better is broken


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The comparison of a file with its network, on the same clips.

    Args:
        clips: number of clips.
        difference: largest difference of a logit, as a share of the largest logit of all clips.
        same: share of clips with the same top-1 class.
        probability: largest and mean difference of a probability.
    """

    clips: int
    difference: float
    same: float
    probability: float
    mean_probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {key: round(value, 9) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"{self.clips} clips: {100 * self.same:.1f} % the same top-1, largest difference of a logit "
            f"{self.difference:.1e} of the largest, of a probability {self.probability:.1e}"
        )


def compare_logits(got: np.ndarray, wanted: np.ndarray) -> Parity:
    """Compare logits (clips, classes) of a file with those of its network."""
    change = np.abs(_softmax(got) - _softmax(wanted)).max(1)
    return Parity(
        clips=len(got),
        difference=float(np.abs(got - wanted).max() / np.abs(wanted).max()),
        same=float((got.argmax(1) == wanted.argmax(1)).mean()),
        probability=float(change.max()),
        mean_probability=float(change.mean()),
    )


def check_parity(
    network: Callable[[np.ndarray], np.ndarray],
    exported: Callable[[np.ndarray], np.ndarray],
    views: Sequence[np.ndarray],
    *,
    precision: str,
) -> Parity:
    """Compare a file with its network, one view, two and five at a time, and raise RunError if they differ.

    Args:
        network, exported: map views (V, T, H, W, C) uint8 to logits (V, classes).
        views: (T, H, W, C) uint8 each.
        precision: of the file; fp32 must agree to rounding, others in nearly all classes.
    """
    got, wanted, sizes = [], [], (1, 2, 5)
    first = turn = 0
    while first < len(views):
        part = np.stack(views[first : first + sizes[turn % len(sizes)]])
        got.append(exported(part))
        wanted.append(network(part))
        first, turn = first + len(part), turn + 1
    found = compare_logits(np.concatenate(got), np.concatenate(wanted))
    if not np.isfinite(found.difference):
        raise RunError("the exported network gives numbers that are not finite; no file was written")
    bad = found.same < 1 or found.difference > LOGITS if precision == "fp32" else found.same < AGREEMENT
    if bad:
        raise RunError(f"the exported network gives other answers ({found}); no file was written")
    return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)
