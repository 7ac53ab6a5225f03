"""Which form computes a call, and a way to say so for a while."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from teinet.errors import ConfigError, nearest
from teinet.kernels import build, cpu

log = logging.getLogger("teinet")

Form = Literal["reference", "cpu", "triton"]
FORMS: tuple[str, ...] = get_args(Form)
VARIABLE = "TEINET_KERNELS"  # in the environment: the form that all calls of the process take

_TRITON_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_asked = os.environ.get(VARIABLE, "")  # "" for the fastest; what a call reads is kept short, for there are many


def available_forms() -> list[str]:
    """The forms that this machine can run; finding out compiles the CPU's kernel, where that was not done before."""
    found = {"reference": True, "cpu": cpu_is_there(), "triton": torch.cuda.is_available() and triton_is_there()}
    return [form for form, is_there in found.items() if is_there]


@contextmanager
def use_form(form: Form) -> Iterator[None]:
    """Compute with one form inside the block; for comparisons. Not for several threads at once.

    The environment variable TEINET_KERNELS does the same for a whole process. Calls that a form cannot compute
    (another device, type or layout) go to the reference.

    Args:
        form: "reference", "cpu" or "triton".

    Raises:
        ConfigError: there is no such form.
    """
    global _asked
    if form not in FORMS:
        raise ConfigError(f"no form {form!r} of the kernels; there are {', '.join(FORMS)}.{nearest(str(form), FORMS)}")
    before, _asked = _asked, form
    try:
        yield
    finally:
        _asked = before


def form_for(x: Tensor) -> str:
    """The form that computes a call on x (B*T, C, H, W).

    Raises:
        ConfigError: the environment asks for a form that does not exist.
    """
    if _asked and _asked not in FORMS:
        raise ConfigError(f"{VARIABLE} is {_asked!r}; it must be one of {', '.join(FORMS)}.{nearest(_asked, FORMS)}")
    if _asked == "reference" or not is_channels_last(x) or x.numel() == 0:
        return "reference"
    if not _asked and torch.compiler.is_exporting():  # an exported network must run where this library is not
        return "reference"
    if x.is_cuda:
        return "triton" if x.dtype in _TRITON_TYPES and _asked != "cpu" and triton_is_there() else "reference"
    if not x.is_cpu:
        return "reference"
    if _asked == "triton":  # on a CPU only in Triton's interpreter, which is how it is tested without a GPU
        return "triton" if x.dtype in _TRITON_TYPES and is_interpreting() else "reference"
    return "cpu" if x.dtype in cpu.TYPES and cpu_is_there() else "reference"


def is_triton_asked() -> bool:
    """Whether the Triton form was asked for."""
    return _asked == "triton"


def is_channels_last(x: Tensor) -> bool:
    """Whether x (N, C, H, W) lies in memory as (N, H, W, C)."""
    return x.is_contiguous(memory_format=torch.channels_last)


@torch.compiler.assume_constant_result
def cpu_is_there() -> bool:
    """Whether the CPU's kernel can be used; compiles it where that was not done before."""
    return build.native() is not None


@torch.compiler.assume_constant_result
def triton_is_there() -> bool:
    """Whether Triton can be used: installed, as torch's CUDA wheels bring it, and able to launch a kernel."""
    return importlib.util.find_spec("triton") is not None and (not torch.cuda.is_available() or _launches())


@lru_cache(maxsize=1)
def _launches() -> bool:
    from teinet.kernels import triton_form

    try:
        x = torch.ones(1, 1, 1, 1, device="cuda")
        return triton_form.forward(x, None, None, 1).item() == 1
    except Exception as error:  # no compiler for its launcher, a driver too old: Triton raises many kinds
        reason = str(error).strip().splitlines()
        log.warning(
            "the temporal modules run in plain torch, which is slower: %s", reason[0] if reason else repr(error)
        )
        return False


@torch.compiler.assume_constant_result
def is_interpreting() -> bool:
    """Whether Triton runs its kernels in Python, without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1" and triton_is_there()
