"""What a run or a test computes on, and what its processes share: quiet, workers, gathered values."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import lightning as L
import torch
import torch.distributed

from teinet.errors import ConfigError, Interrupted, RunError, nearest

_LOST = re.compile(r"Connection (closed|reset) by peer")

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
TrainerPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a run or a test computes on.

    Args:
        accelerator: "auto" takes a GPU where there is one.
        devices: how many of them, at least 1; on a CPU, processes.

    Raises:
        ConfigError: a value that does not exist, or devices that this machine does not have.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    precision: TrainerPrecision = "32-true"

    def __post_init__(self) -> None:
        for name, kind in (("accelerator", Accelerator), ("precision", TrainerPrecision)):
            value, valid = getattr(self, name), get_args(kind)
            if value not in valid:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(valid)}.{nearest(value, valid)}")
        if self.devices < 1:
            raise ConfigError(f"devices is {self.devices}; it must be at least 1")
        if self.accelerator == "mps" and not torch.backends.mps.is_available():
            raise ConfigError("accelerator is mps, but this machine offers no Apple GPU to torch; take cpu")
        on_cuda = self.accelerator == "cuda" or (self.accelerator == "auto" and torch.cuda.is_available())
        if on_cuda and (found := torch.cuda.device_count()) < self.devices:
            advice = f"at most {found}" if found else "accelerator cpu"
            raise ConfigError(f"devices is {self.devices} on cuda, but torch finds {found or 'none'}; take {advice}")

    def device(self) -> str:
        """The kind of device that "auto" stands for, or the one that was named."""
        if self.accelerator != "auto":
            return self.accelerator
        if torch.cuda.is_available():
            return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def workers(self, asked: int | None) -> int:
        """Decoding processes for each device: as many as were asked for, or one a core, at most 8."""
        return max(1, min(8, (os.cpu_count() or 1) // self.devices)) if asked is None else asked

    def trainer_arguments(self) -> dict[str, Any]:
        """What Lightning's Trainer takes of this."""
        quiet = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler")
        return {**asdict(self), "strategy": "ddp" if self.devices > 1 else "auto", **dict.fromkeys(quiet, False)}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning inside the block or the decorated function; filters and log levels are then restored."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning|torch\.utils\.data")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


@contextmanager
def ending_together(trainer: L.Trainer) -> Iterator[None]:
    """Let no process of a run on several devices wait for one that failed inside the block.

    Raises:
        RunError: another process failed; it has said why.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit):  # of which all know
        raise
    except BaseException as error:
        for process in getattr(trainer.strategy.launcher, "procs", []):  # those that the first one started
            process.kill()
            process.wait()
        if isinstance(error, RuntimeError) and _LOST.search(str(error)):
            raise RunError("another process of this run came to an end; what it printed says why") from None
        raise


def gather(value: Any) -> list[Any]:
    """What each process of the run holds, in every process; of a single process a list of one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
