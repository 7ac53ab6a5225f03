"""The speed and memory of networks on this machine, timed in turns in one process, next to the paper's Table 2."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from teinet.models.classifier import VideoClassifier, multiply_adds, parameters


class Timing(NamedTuple):
    """Statistics of a repeated measurement."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Timing:
        """Return the median, minimum and maximum of values."""
        return cls(median(values), min(values), max(values))


class PaperSpeed(NamedTuple):
    """Milliseconds for one clip, and clips per second in batches of 16, on a Tesla P100."""

    latency: float
    throughput: float


# By network and number of frames; TEINet, arXiv 1911.09435, Table 2. It has no TSN of 16 frames.
TABLE_2 = {
    ("tsn_resnet50", 8): PaperSpeed(15.5, 81.5),
    ("tsm_resnet50", 8): PaperSpeed(17.4, 77.4),
    ("tsm_resnet50", 16): PaperSpeed(29.0, 39.5),
    ("tim_resnet50", 8): PaperSpeed(20.1, 61.6),
    ("tim_resnet50", 16): PaperSpeed(34.9, 31.4),
    ("teinet_resnet50", 8): PaperSpeed(36.5, 46.9),
    ("teinet_resnet50", 16): PaperSpeed(49.5, 24.2),
}


@dataclass(kw_only=True)
class Speed:
    """One network with its cost.

    Args:
        model: in evaluation mode, on its device, optimized or not.
        size: (height, width) of its frames, pixels.
        parameters, macs: of the network before it is optimized; macs are the multiply-adds of one clip.
        seconds: of one forward pass in each round, by batch size.
        peak_mb: megabytes that a pass takes beyond the memory in use before it, by batch size; nan if not measurable.
    """

    name: str
    model: VideoClassifier
    size: tuple[int, int]
    parameters: int
    macs: int
    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak_mb: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, model: VideoClassifier, size: tuple[int, int]) -> Speed:
        """Count the parameters and multiply-adds of a network that is not optimized yet."""
        return cls(name=name, model=model, size=size, parameters=parameters(model), macs=multiply_adds(model, size))

    def latency(self) -> Timing:
        """Return the milliseconds for one clip."""
        return Timing.of([1e3 * seconds for seconds in self.seconds[1]])

    def throughput(self, batch_size: int) -> Timing:
        """Return the clips per second in batches."""
        return Timing.of([batch_size / seconds for seconds in self.seconds[batch_size]])

    @property
    def published(self) -> PaperSpeed | None:
        """The row of Table 2, which has bidirectional networks at 224 pixels; None if it has no such row."""
        config = self.model.config or {}
        if config.get("causal") or self.size != (224, 224):
            return None
        return TABLE_2.get((str(config.get("name")), self.model.num_frames))

    def to_dict(self, batch_size: int) -> dict[str, Any]:
        """Return JSON values."""
        peaks = {clips: None if peak != peak else round(peak, 1) for clips, peak in self.peak_mb.items()}
        return {
            "name": self.name,
            "num_frames": self.model.num_frames,
            "size": list(self.size),
            "parameters": self.parameters,
            "macs": self.macs,
            "latency_ms": self.latency()._asdict(),
            "clips_per_second": self.throughput(batch_size)._asdict(),
            "peak_mb": {"latency": peaks[1], "throughput": peaks[batch_size]},
            "paper": None if self.published is None else self.published._asdict(),
        }


@torch.inference_mode()
def measure_speed(
    networks: Sequence[Speed],
    *,
    batch_size: int = 16,
    rounds: int = 5,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Time each network once per round, in alternating order, so that other load on the machine affects all equally.

    Args:
        networks: their `seconds` and `peak_mb` are filled in.
        batch_size: clips in a pass for the throughput; passes of one clip are timed too.
        rounds: at least 1, after a warm-up round that does not count.
        progress: called with a line of progress before each pass.
    """
    for turn in range(rounds + 1):
        for network in networks if turn % 2 else networks[::-1]:
            for clips in sorted({1, batch_size}):
                progress(f"{f'round {turn} of {rounds}' if turn else 'warming up'}: {network.name}, batch of {clips}")
                seconds, peak = _pass(network, clips)
                if turn:
                    network.seconds.setdefault(clips, []).append(seconds)
                    network.peak_mb.setdefault(clips, peak)


def _pass(network: Speed, clips: int) -> tuple[float, float]:
    """Return the seconds and the peak megabytes of one pass over clips of noise."""
    device = next(network.model.parameters()).device
    shape = (clips, network.model.num_frames, 3, *network.size)
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(device)
    before = begin_peak(device)
    _wait(device)
    began = time.perf_counter()
    network.model(batch)
    _wait(device)
    seconds = time.perf_counter() - began
    return seconds, peak_mb(device) - before


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def begin_peak(device: torch.device) -> float:
    """Reset the peak memory and return the megabytes in use; nan if the system does not count them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    try:
        ctypes.CDLL(None).malloc_trim(0)  # the peak begins at the memory in use
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return float("nan")
    return _status("VmRSS")


def peak_mb(device: torch.device) -> float:
    """Return the peak megabytes in use since `begin_peak`; nan if the system does not count them."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    """Return a line of /proc/self/status in MB; nan if there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((float(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:")), float("nan"))
