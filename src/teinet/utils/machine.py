"""What a measurement was made on, and with: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import torch

from teinet import __version__
from teinet.utils.worker_pool import usable_cores


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPUs, system; the date; versions of what computes and decodes."""
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
    """The processor's name as the system gives it."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
