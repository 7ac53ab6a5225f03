"""The arithmetic of TEI, TIM and MEM made fast, behind one function per operation.

`temporal_conv` (gate and temporal kernel, one pass over memory) and `motion_gate` (MEM's gate) each define one result.
Forms that give it:

- "reference": plain torch operations, on any device, type and memory layout; what the others are checked against;
- "cpu": C++, compiled by the machine's own compiler when it is first needed, for channels-last float32 and bfloat16;
- "triton": a Triton kernel of `temporal_conv` for CUDA, for channels-last float32, float16 and bfloat16.

`temporal_step` and `motion_step` give the same in the causal form, frame by frame, in the forms "reference" and "cpu".

The fastest form that a call allows is taken. What is exported (torch.export) holds plain torch operations.
"""

from __future__ import annotations

from teinet.kernels.choice import FORMS, available_forms, use_form
from teinet.kernels.gate import Squeeze, motion_gate
from teinet.kernels.reference import pool
from teinet.kernels.step import motion_step, temporal_step
from teinet.kernels.temporal import temporal_conv

__all__ = [
    "FORMS",
    "Squeeze",
    "available_forms",
    "motion_gate",
    "motion_step",
    "pool",
    "temporal_conv",
    "temporal_step",
    "use_form",
]
