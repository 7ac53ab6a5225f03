"""The hardware and versions behind a measurement, and the device that a name stands for."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teinet import __version__
from teinet.errors import ConfigError, nearest
from teinet.utils.worker_pool import usable_cores

if TYPE_CHECKING:
    import torch

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def machine() -> dict[str, Any]:
    """Return processor, cores, memory (GiB), GPUs, system, date, and the versions of the libraries used."""
    import av
    import torch

    return {
        "processor": processor(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "teinet": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "av", "numpy", "pillow")},
            **{name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()},
        },
    }


def processor() -> str:
    """Return the processor's name as the system reports it."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()


def free_memory() -> int | None:
    """Return the bytes of memory that are free for this process; None where the system does not say."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def check_device(name: str) -> None:
    """Raise ConfigError for a name that no device has, on any machine; needs no torch."""
    if not _DEVICE.fullmatch(name):
        gpu = {"gpu": " Use cuda.", **({name: f" Use cuda:{name}."} if name.isdecimal() else {})}
        hint = gpu.get(name.lower()) or nearest(name, ("auto", "cpu", "cuda", "mps"))
        raise ConfigError(f"device is {name!r}; it must be auto, cpu, cuda, cuda:N or mps.{hint}")


def find_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device that a name stands for; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: the device does not exist, or not on this machine.
    """
    import torch

    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    check_device(str(name))
    device = torch.device(name)
    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= present:
        raise ConfigError(f"device {str(name)!r} is not available on this machine; use 'auto' or 'cpu'")
    return device
