"""Arrays of numpy from what users pass: tensors, arrays, images."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_array(values: Any) -> np.ndarray:
    """Return a tensor of any device, or what numpy takes, as an array; without a copy where that is possible."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
