"""From the two-sided form of a network to the causal one, and back: the same weights, TIM's kernels laid anew."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_KERNELS = (".temporal.tim.weight", ".temporal.weight")  # of TEI and SE+TIM, and of TIM alone


def kernels_laid_anew(tensors: Mapping[str, Tensor], *, causal: bool) -> dict[str, Tensor]:
    """A recogniser's tensors for the other form: a kernel keeps what it takes from t-1 and t, as far as it can.

    Two-sided kernels lie on t-1, t, t+1. The causal form cannot have frame t+1, and takes frame t for it: (0, V0,
    V1+V2) on t-2, t-1, t. Back, frame t-2 becomes t-1: (V0+V1, V2, 0). What it knew it has to learn anew in part; it
    is a start for training.

    Args:
        tensors: by name; kernels are (C, 1, 3, 1).
        causal: the form to make.
    """
    return {
        key: _laid_anew(value, causal) if key.endswith(_KERNELS) and value.shape[1:] == (1, 3, 1) else value
        for key, value in tensors.items()
    }


def _laid_anew(kernel: Tensor, causal: bool) -> Tensor:
    first, middle, last = kernel.unbind(2)
    none = torch.zeros_like(first)
    return torch.stack([none, first, middle + last] if causal else [first + middle, last, none], dim=2)
