"""Fast kernels of the layers: one function per operation, in C++ on a CPU or Triton on CUDA.

- `temporal_conv`: gate and temporal kernel in one pass over memory, forward and backward.
- `motion_gate`: MEM's gate from features to factors, on a CPU.
- `temporal_step`, `motion_step`: the same for one more frame of each stream, on a CPU.

`fuses`, `fuses_gate`, `fuses_step`, `fuses_motion_step` tell whether these run; elsewhere `teinet.layers` computes the
same in plain torch. They take channels-last tensors; C++ float32 and bfloat16, Triton float16 too.
"""

from __future__ import annotations

from teinet.kernels.dispatch import FORMS, available_forms, fuses, is_channels_last, use_form
from teinet.kernels.motion_gate import Squeeze, fuses_gate, motion_gate
from teinet.kernels.step import fuses_motion_step, fuses_step, motion_step, temporal_step
from teinet.kernels.temporal_conv import temporal_conv

__all__ = [
    "FORMS", "Squeeze", "available_forms", "fuses", "fuses_gate", "fuses_motion_step", "fuses_step", "is_channels_last",
    "motion_gate", "motion_step", "temporal_conv", "temporal_step", "use_form",
]  # fmt: skip
