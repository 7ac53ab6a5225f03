"""What detection needs of a recognizer; `teinet.Recognizer` has it. It is handed one and imports none."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from teinet.data.transforms import Preprocessing

StateType = Literal["same", "fp16"]


class Recognizes(Protocol):
    """A network with its class names and preprocessing."""

    model: Any
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    header: dict[str, Any]

    @property
    def num_frames(self) -> int:
        """T of the network."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    @property
    def spacing(self) -> float | None:
        """Seconds between two neighboring frames in training; None where it is not known."""
        ...

    @property
    def nothing(self) -> tuple[str, ...]:
        """Classes that make no event."""
        ...

    def stream(self, batch: int = 1, *, span: int | None = None, state: StateType = "same", together: int = 1) -> Any:
        """Make streams that step frame by frame."""
        ...

    def scores(self, clips: Tensor) -> np.ndarray:
        """Return the scores of clips."""
        ...
