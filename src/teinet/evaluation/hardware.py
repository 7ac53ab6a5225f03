"""The devices and precision of a run or a test, and helpers for its processes."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import lightning as L
import torch
import torch.distributed

from teinet.errors import ConfigError, Interrupted, RunError, nearest
from teinet.models.optimized import TorchPrecision
from teinet.utils.machine import check_device

_LOST = re.compile(r"Connection (closed|reset) by peer")

_LIGHTNING = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # its words for a precision


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The devices and the precision of a run or a test.

    Args:
        device: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.
        devices: number of devices, at least 1; on a CPU, of processes.
        nodes: number of machines with so many devices each.
        precision: auto is 16-bit mixed precision on a CUDA GPU (bfloat16 if the GPU has it), else fp32; afterwards
            the attribute holds the one that was chosen.

    Raises:
        ConfigError: an unknown value, or devices that this machine does not have.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: TorchPrecision = "fp32"

    def __post_init__(self) -> None:
        check_device(self.device)
        if self.precision not in (valid := get_args(TorchPrecision)):
            hint = nearest(self.precision, valid)
            raise ConfigError(f"precision is {self.precision!r}; it must be one of {', '.join(valid)}.{hint}")
        if self.devices < 1:
            raise ConfigError(f"devices is {self.devices}; it must be at least 1")
        if self.device == "mps" and not torch.backends.mps.is_available():
            raise ConfigError("device is mps, but torch finds no Apple GPU on this machine; use device cpu")
        cuda, _, number = self.device.partition(":")
        if number and self.devices > 1:
            raise ConfigError(f"device is {self.device}, a single GPU, but devices is {self.devices}; use device cuda")
        if cuda == "cuda" or (cuda == "auto" and torch.cuda.is_available()):
            found = torch.cuda.device_count()
            if number and int(number) >= found:
                raise ConfigError(f"device is {self.device}, but torch finds {found or 'no'} GPUs, counted from 0")
            if found < self.devices:
                advice = f"at most {found}" if found else "device cpu"
                message = f"devices is {self.devices} on cuda, but torch finds {found or 'none'}"
                raise ConfigError(f"{message}; use {advice}")
        if self.precision == "auto":
            half = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp16"
            precision = half if self.torch_device().startswith("cuda") else "fp32"
            object.__setattr__(self, "precision", precision)
        elif self.precision == "fp16" and self.torch_device() == "cpu":
            raise ConfigError("precision fp16 is for GPUs; a CPU takes bf16 or fp32")

    @property
    def processes(self) -> int:
        """The number of devices of all machines, each of which has a process."""
        return self.devices * self.nodes

    def torch_device(self) -> str:
        """Return the name that torch has for this process's device."""
        if self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available()):
            return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        if self.device == "auto":
            return "mps" if torch.backends.mps.is_available() else "cpu"
        return self.device

    def workers(self, asked: int | None) -> int:
        """Return the number of decoding processes per device: `asked`, or one per core, at most 8."""
        return max(1, min(8, (os.cpu_count() or 1) // self.devices)) if asked is None else asked

    def trainer_arguments(self) -> dict[str, Any]:
        """Return the arguments of Lightning's Trainer."""
        accelerator, _, number = self.device.partition(":")
        quiet = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler")
        return {
            "accelerator": accelerator,
            "devices": [int(number)] if number else self.devices,
            "num_nodes": self.nodes,
            "precision": _LIGHTNING[self.precision],
            "strategy": "ddp" if self.processes > 1 else "auto",
            **dict.fromkeys(quiet, False),
        }


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning inside the block or the decorated function; filters and log levels are restored after it."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning|torch\.utils\.data")
        warnings.filterwarnings("ignore", message="Grad strides do not match")  # of 1x1 kernels, whose strides are free
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


@contextmanager
def ending_together(trainer: L.Trainer) -> Iterator[None]:
    """End all processes of a run on several devices when one fails inside the block.

    Raises:
        RunError: another process failed; it has printed the reason.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit):  # raised in all processes
        raise
    except BaseException as error:
        for process in getattr(trainer.strategy.launcher, "procs", []):  # those that the first one started
            process.kill()
            process.wait()
        refuse_lost(error)
        raise


def refuse_lost(error: BaseException) -> None:
    """Raise RunError for an error that says that another process has ended."""
    if isinstance(error, RuntimeError) and _LOST.search(str(error)):
        raise RunError("another process of this run failed; its own message says why") from None


def gather(value: Any) -> list[Any]:
    """Return the values of all processes of the run, in each of them; of a single process a list of one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
