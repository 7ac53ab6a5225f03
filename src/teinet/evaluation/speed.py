"""The speed and memory of networks on this machine, timed in turns in one process, next to the paper's tables."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from teinet.evaluation.published import Published
from teinet.models.classifier import VideoClassifier, multiply_adds, parameters
from teinet.models.exported import ExportedNetwork
from teinet.utils.machine import free_memory
from teinet.utils.worker_pool import Beat, TaskFailure, run


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
    """Millions of parameters; milliseconds for one clip, and clips per second in batches of 16, on a Tesla P100."""

    parameters: float
    latency: float
    throughput: float


_MMAP_THRESHOLD = -3  # of mallopt(3)

# By network and number of frames; TEINet, arXiv 1911.09435, Table 2. It has no TSN of 16 frames.
TABLE_2 = {
    ("i3d_resnet50_32x2", 32): PaperSpeed(35.3, 165.3, 6.1),
    ("eco", 16): PaperSpeed(47.5, 30.6, 45.6),
    ("tsn_resnet50", 8): PaperSpeed(24.3, 15.5, 81.5),
    ("tsm_resnet50", 8): PaperSpeed(24.3, 17.4, 77.4),
    ("tsm_resnet50", 16): PaperSpeed(24.3, 29.0, 39.5),
    ("tim_resnet50", 8): PaperSpeed(24.3, 20.1, 61.6),
    ("tim_resnet50", 16): PaperSpeed(24.3, 34.9, 31.4),
    ("teinet_resnet50", 8): PaperSpeed(30.4, 36.5, 46.9),
    ("teinet_resnet50", 16): PaperSpeed(30.4, 49.5, 24.2),
}


@dataclass(kw_only=True)
class Speed:
    """One network with its cost.

    Args:
        model: in evaluation mode, on its device, optimized or not.
        size: (height, width) of its frames, pixels.
        parameters, macs: of the network before it is optimized; macs are the multiply-adds of one clip.
        seconds: of one forward pass in each round, by batch size.
        peak_mb: megabytes that a pass takes beyond the memory in use before it, which holds the weights and the clips,
            by batch size; nan if not measurable. On a CPU it is that of a process with this network alone.
        rows: of the paper's tables, whose costs are those of this network.
        form: engine and precision.
        over_tsn: see `compare`.
    """

    name: str
    model: VideoClassifier | ExportedNetwork
    size: tuple[int, int]
    parameters: int
    macs: int
    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak_mb: dict[int, float] = field(default_factory=dict)
    rows: list[Published] = field(default_factory=list)
    form: str = "eager, fp32"
    over_tsn: dict[str, float] | None = None

    @classmethod
    def of(cls, name: str, model: VideoClassifier | ExportedNetwork, size: tuple[int, int]) -> Speed:
        """Count the parameters and multiply-adds of a network that is not optimized yet."""
        return cls(name=name, model=model, size=size, parameters=parameters(model), macs=multiply_adds(model, size))

    def latency(self) -> Timing:
        """Return the milliseconds for one clip."""
        return Timing.of([1e3 * seconds for seconds in self.seconds[1]])

    def throughput(self) -> Timing:
        """Return the clips per second in the largest batches."""
        return Timing.of([self.batch_size / seconds for seconds in self.seconds[self.batch_size]])

    @property
    def batch_size(self) -> int:
        """The clips in the largest batches that were timed."""
        return max(self.seconds)

    @property
    def published(self) -> PaperSpeed | None:
        """The row of Table 2, which has bidirectional networks at 224 pixels; None if it has no such row."""
        config = self.model.config or {}
        if config.get("causal") or self.size != (224, 224):
            return None
        return TABLE_2.get((str(config.get("name")), self.model.num_frames))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        peaks = {clips: None if peak != peak else round(peak, 1) for clips, peak in self.peak_mb.items()}
        return {
            "name": self.name,
            "form": self.form,
            "num_frames": self.model.num_frames,
            "size": list(self.size),
            "parameters": self.parameters,
            "macs": self.macs,
            "latency_ms": self.latency()._asdict(),
            "clips_per_second": self.throughput()._asdict(),
            "batch_size": self.batch_size,
            "over_tsn": self.over_tsn,
            "peak_mb": {"latency": peaks[1], "throughput": peaks[self.batch_size]},
            "paper": None if self.published is None else self.published._asdict(),
            "rows": [{"table": p.table, "row": p.row, "gmacs": None if p.ensemble else p.gmacs} for p in self.rows],
            "note": "; ".join(dict.fromkeys(p.cost_note for p in self.rows if p.cost_note)) or None,
        }


def measure_memory(
    network: Speed, build: Callable[[], Speed], *, batch_size: int, progress: Callable[[str], None] = lambda text: None
) -> None:
    """Fill in `peak_mb`, by the batch sizes to time: one clip, and as many as fit into memory.

    What memory a process holds depends on all that it did before. So on a CPU each pass is one of a fresh process,
    which with glibc gives blocks of 1 MB and more back as soon as they are free.

    Args:
        network: on its device; its `peak_mb` stays empty if one clip does not fit.
        build: returns the same network; it can be pickled.
        batch_size: clips in a pass for the throughput, halved until they take at most half of the free memory, as a
            process that has run other networks needs more than a fresh one.
        progress: called with a line of progress before each pass.
    """
    device = _device(network)

    def fits(clips: int) -> bool:
        if clips > 1 and clips * network.peak_mb[1] * 1e6 > 0.5 * _free(device):
            return False
        progress(f"memory: {network.name}, batch of {clips}")
        if device.type == "cuda":
            try:
                network.peak_mb[clips] = _warm_peak(network, clips)
            except torch.OutOfMemoryError:
                return False
            return True
        (done,) = run(_fresh_peak, [(build, clips)], workers=1, timeout=math.inf)
        if not isinstance(done.value, TaskFailure):  # its process was ended
            network.peak_mb[clips] = done.value
        return clips in network.peak_mb

    if fits(1):
        while batch_size > 1 and not fits(batch_size):
            batch_size //= 2


def _free(device: torch.device) -> float:
    """Return the bytes of free memory; infinity where the system does not say."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() or math.inf


def _fresh_peak(task: tuple[Callable[[], Speed], int], _: Beat) -> float:
    build, clips = task
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)
    return _warm_peak(build(), clips)


def _warm_peak(network: Speed, clips: int) -> float:
    _pass(network, _batch(network, 1))  # it loads what libraries load once
    batch = _batch(network, clips)
    before = begin_peak(batch.device)
    _pass(network, batch)
    return peak_mb(batch.device) - before


def measure_speed(
    networks: Sequence[Speed], *, rounds: int = 5, progress: Callable[[str], None] = lambda text: None
) -> None:
    """Time each network once per round, in alternating order, so that other load on the machine affects all equally.

    A process that keeps freed memory has it, as in use: in the first round there is a pass that is not timed before
    each timed one. Where memory gets short, what the networks before kept is given back, and there is another one.

    Args:
        networks: their `seconds` are filled in, by the batch sizes in `peak_mb`.
        rounds: at least 1.
        progress: called with a line of progress before each pass.
    """
    for turn in range(rounds):
        for network in networks if turn % 2 else networks[::-1]:
            for clips, peak in sorted(network.peak_mb.items()):
                progress(f"round {turn + 1} of {rounds}: {network.name}, batch of {clips}")
                batch = _batch(network, clips)
                short = 1.5e6 * peak > _free(batch.device)
                if short:
                    _trim()
                if short or turn == 0:
                    _pass(network, batch)
                network.seconds.setdefault(clips, []).append(_pass(network, batch))


def compare(networks: Sequence[Speed]) -> None:
    """Fill in `over_tsn`: the median over the rounds of a network's time over TSN's, for one clip and for many.

    TSN is the one of the same backbone, clip, form and batch size; a network without it, and TSN itself, has None.
    """
    for network in networks:
        kind, _, backbone = str((network.model.config or {}).get("name")).partition("_")
        for tsn in networks:
            same = (tsn.size, tsn.model.num_frames, tsn.form) == (network.size, network.model.num_frames, network.form)
            name = (tsn.model.config or {}).get("name")
            if kind != "tsn" and same and name == f"tsn_{backbone}" and tsn.batch_size == network.batch_size:
                sizes = {"latency": 1, "throughput": network.batch_size}
                network.over_tsn = {
                    what: round(median(a / b for a, b in zip(network.seconds[size], tsn.seconds[size])), 4)
                    for what, size in sizes.items()
                }


def expected_seconds(networks: Sequence[Speed], *, batch_size: int, rounds: int) -> float:
    """Return about how long both measurements take, by the multiply-adds and the time of a network of median cost."""
    middle = sorted(networks, key=lambda network: network.macs)[len(networks) // 2]
    batch = _batch(middle, 1)
    _pass(middle, batch)
    clips = (rounds + 2) * sum({1, batch_size}) + 2
    return clips * _pass(middle, batch) * sum(network.macs for network in networks) / middle.macs


def _batch(network: Speed, clips: int) -> torch.Tensor:
    """Return clips of noise on the network's device."""
    shape = (clips, network.model.num_frames, network.model.num_channels, *network.size)
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return batch.to(_device(network))


def _device(network: Speed) -> torch.device:
    if isinstance(network.model, ExportedNetwork):
        return torch.device("cpu")
    return next(network.model.parameters()).device


@torch.inference_mode()
def _pass(network: Speed, batch: torch.Tensor) -> float:
    """Return the seconds of one pass."""
    _wait(batch.device)
    began = time.perf_counter()
    network.model(batch)
    _wait(batch.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def begin_peak(device: torch.device) -> float:
    """Reset the peak memory and return the megabytes in use; nan if the system does not count them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    _trim()  # the peak begins at the memory in use
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return float("nan")
    return _status("VmRSS")


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
