"""Which device a recognizer runs on."""

from __future__ import annotations

import torch

from teinet.errors import ConfigError


def find_device(name: str | torch.device = "auto") -> torch.device:
    """Resolve "auto" (CUDA, else Apple's MPS, else CPU), or raise ConfigError if a named device is missing."""
    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r} does not exist; auto, cpu, cuda, cuda:1 and mps do") from None
    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= present:
        raise ConfigError(f"device {str(name)!r} is not on this machine; 'auto' or 'cpu' would run")
    return device
