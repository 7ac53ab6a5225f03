"""Choice of the form (plain torch, C++, Triton) that computes a call, and registration in `torch.ops.teinet`."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from teinet.errors import ConfigError, nearest
from teinet.kernels import build

log = logging.getLogger("teinet")

Form = Literal["reference", "cpu", "triton"]
FORMS: tuple[str, ...] = get_args(Form)
VARIABLE = "TEINET_KERNELS"  # environment variable: the form for all calls of the process

TRITON_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_asked = os.environ.get(VARIABLE, "")  # "" for the fastest; read once, as there are many calls
# Not torch.library.custom_op, whose wrapping costs 20 to 30 microseconds a call, in networks of a few milliseconds.
_LIBRARY = torch.library.Library("teinet", "FRAGMENT")


def available_forms() -> list[str]:
    """Return the forms that this machine can run; compiles the C++ if that was not done before."""
    found = {"reference": True, "cpu": has_native(), "triton": torch.cuda.is_available() and has_triton()}
    return [form for form, available in found.items() if available]


@contextmanager
def use_form(form: Form) -> Iterator[None]:
    """Compute with one form inside the block, for comparisons; not thread-safe.

    The environment variable TEINET_KERNELS does the same for a whole process. Calls that a form cannot compute
    (another device, type or layout) go to the reference, the layers' plain torch.

    Raises:
        ConfigError: an unknown form.
    """
    global _asked
    if form not in FORMS:
        raise ConfigError(
            f"unknown form {form!r} of the kernels; choose from {', '.join(FORMS)}.{nearest(str(form), FORMS)}"
        )
    before, _asked = _asked, form
    try:
        yield
    finally:
        _asked = before


def form_for(x: Tensor) -> str:
    """Return the form that computes a call on x (B*T, C, H, W); ConfigError if TEINET_KERNELS is none of them."""
    if _asked and _asked not in FORMS:
        raise ConfigError(f"{VARIABLE} is {_asked!r}; it must be one of {', '.join(FORMS)}.{nearest(_asked, FORMS)}")
    if _asked == "reference" or not is_channels_last(x) or x.numel() == 0:
        return "reference"
    if not _asked and torch.compiler.is_exporting():  # an exported network must run without this library
        return "reference"
    if x.is_cuda:
        return "triton" if x.dtype in TRITON_TYPES and _asked != "cpu" and has_triton() else "reference"
    if not x.is_cpu:
        return "reference"
    if _asked == "triton":  # on a CPU only in Triton's interpreter, for tests without a GPU
        return "triton" if x.dtype in TRITON_TYPES and is_interpreting() else "reference"
    return "cpu" if x.dtype in build.TYPES and has_native() else "reference"


def runs_triton(x: Tensor) -> bool:
    """Return whether Triton computes a call on x; on a CPU only if asked for (its interpreter)."""
    return not x.is_cpu or _asked == "triton"


def fuses(x: Tensor) -> bool:
    """Return whether `temporal_conv` computes a call on x (B*T, C, H, W); it is faster than plain torch."""
    return form_for(x) != "reference"


def is_channels_last(x: Tensor) -> bool:
    """Return whether x (N, C, H, W) is stored as (N, H, W, C)."""
    return x.is_contiguous(memory_format=torch.channels_last)


@torch.compiler.assume_constant_result
def has_native() -> bool:
    """Return whether the C++ can be used; compiles it if that was not done before."""
    return build.native() is not None


@torch.compiler.assume_constant_result
def has_triton() -> bool:
    """Return whether Triton is installed (torch's CUDA wheels bring it) and able to launch a kernel."""
    return importlib.util.find_spec("triton") is not None and (not torch.cuda.is_available() or _launches())


@lru_cache(maxsize=1)
def _launches() -> bool:
    from teinet.kernels import triton_kernels

    try:
        x = torch.ones(1, 1, 1, 1, device="cuda")
        return triton_kernels.forward(x, None, None, 1).item() == 1
    except Exception as error:  # no compiler for its launcher, a driver too old: Triton raises many kinds
        log.warning("the temporal modules run in plain torch, which is slower: %s", build.first_line(error))
        return False


@torch.compiler.assume_constant_result
def is_interpreting() -> bool:
    """Return whether Triton runs its kernels in Python, without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1" and has_triton()


def define(schema: str, kernels: dict[str, Callable], shapes: Callable, flops: Callable) -> Any:
    """Register an operator by its schema in torch's notation, and return it.

    Args:
        kernels: functions that compute it, by device: "CPU", "CUDA".
        shapes: the function for fake tensors.
        flops: returns the cost, given the shapes.
    """
    name = schema.partition("(")[0]
    # compilers keep the memory layout of the inputs
    _LIBRARY.define(schema, tags=(torch.Tag.needs_fixed_stride_order,))
    for device, kernel in kernels.items():
        _LIBRARY.impl(name, kernel, device)
    torch.library.register_fake(f"teinet::{name}", shapes, lib=_LIBRARY)
    operator = getattr(torch.ops.teinet, name)
    register_flop_formula(operator)(flops)
    return operator.default


def differentiate(operator: Any, save: Callable, backward: Callable) -> None:
    """Give an operator its gradient, as torch.library.register_autograd does."""
    torch.library.register_autograd(operator.name(), backward, setup_context=save, lib=_LIBRARY)


def refuse_second_derivatives() -> None:
    """Raise RuntimeError in a backward pass with create_graph=True, whose own gradient is wanted."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fast kernels of the temporal modules have first derivatives only; for second ones compute with "
            "teinet.kernels.use_form('reference'), or set TEINET_KERNELS=reference"
        )


def check_together(x: Tensor, *others: Tensor | None) -> None:
    """Raise RuntimeError if tensors are on different devices: kernels read bare addresses."""
    device = x.get_device()
    for other in others:
        if other is not None and other.get_device() != device:
            raise RuntimeError(f"expected all tensors on one device, found {x.device} and {other.device}")
