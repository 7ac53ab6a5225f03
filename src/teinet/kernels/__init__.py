"""Fast kernels of the layers: one function per operation, in C++ on a CPU or Triton on CUDA.

- `temporal_conv`: gate and temporal kernel in one pass over memory, forward and backward.
- `tei`: MEM's gate from features to factors as well, in the same call.
- `temporal_step`, `tei_step`: the same for the next frames of each stream, on a CPU.

`fuses`, `fuses_tei` and `fuses_step` tell whether these run; elsewhere `teinet.layers` computes the
same in plain torch. They take channels-last tensors; C++ float32 and bfloat16, Triton float16 too.
"""

from __future__ import annotations

from teinet.kernels.dispatch import FORMS, available_forms, fuses, is_channels_last, use_form
from teinet.kernels.fused_tei import Squeeze, fuses_tei, tei
from teinet.kernels.step import fuses_step, tei_step, temporal_step
from teinet.kernels.temporal_conv import temporal_conv

__all__ = [
    "FORMS", "Squeeze", "available_forms", "fuses", "fuses_step", "fuses_tei", "is_channels_last", "tei", "tei_step",
    "temporal_conv", "temporal_step", "use_form",
]  # fmt: skip
