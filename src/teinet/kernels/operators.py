"""The operators' home in torch's dispatcher: `torch.ops.teinet`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# Not torch.library.custom_op, whose own wrapping costs 20 to 30 microseconds a call, in networks of a few milliseconds.
_LIBRARY = torch.library.Library("teinet", "FRAGMENT")


def define(
    schema: str,
    kernels: dict[str, Callable],
    shapes: Callable,
    flops: Callable | None = None,
) -> Any:
    """Make an operator.

    Args:
        schema: its name, arguments and results, as torch writes them.
        kernels: what computes it, by device: "CPU", "CUDA".
        shapes: the same on tensors without numbers.
        flops: what it costs, from shapes; without, nothing.

    Returns:
        The operator, to be called.
    """
    from torch.utils.flop_counter import register_flop_formula

    name = schema.partition("(")[0]
    # compilers keep the memory layout of what they hand over
    _LIBRARY.define(schema, tags=(torch.Tag.needs_fixed_stride_order,))
    for device, kernel in kernels.items():
        _LIBRARY.impl(name, kernel, device)
    torch.library.register_fake(f"teinet::{name}", shapes, lib=_LIBRARY)
    operator = getattr(torch.ops.teinet, name)
    if flops is not None:
        register_flop_formula(operator)(flops)
    return operator.default


def differentiate(operator: Any, save: Callable, backward: Callable) -> None:
    """Give an operator its gradient, as torch.library.register_autograd does."""
    torch.library.register_autograd(operator.name(), backward, setup_context=save, lib=_LIBRARY)


def refuse_second_derivatives() -> None:
    """Called in a backward pass.

    Raises:
        RuntimeError: its own gradient is wanted too (create_graph=True), which only the plain form has.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fast forms of the temporal modules have first derivatives only; for second ones compute with "
            "teinet.kernels.use_form('reference'), or set TEINET_KERNELS=reference"
        )


def check_together(x: torch.Tensor, *others: torch.Tensor | None) -> None:
    """RuntimeError where tensors lie on different devices: kernels read bare addresses."""
    for other in others:
        if other is not None and other.device != x.device:
            raise RuntimeError(f"expected all tensors on one device, found {x.device} and {other.device}")
