"""One process that holds one network and times one pass of it whenever it is asked to.

Each network has a process of its own, so that its memory can be told from the others' and no compiled program serves
two of them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from teinet.benchmark.contenders import Contender, build
from teinet.models.cost import multiply_adds, parameters


def serve(contender: Contender, device: str, pipe: Connection) -> None:
    """Build the network, then answer (measure, batch size) with seconds until None comes; errors are answers too."""
    logging.disable(logging.WARNING)
    sys.stdout = open(os.devnull, "w")  # compilers' chatter
    try:
        network = _Measured(contender, torch.device(device))
        pipe.send(("ready", network.facts()))
        while (request := pipe.recv()) is not None:
            pipe.send(("done", network.measure(*request)))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(("failed", " ".join(str(error).split())[:300] or type(error).__name__))


class _Measured:
    def __init__(self, contender: Contender, device: torch.device):
        self.contender, self.device = contender, device
        self.model = build(contender, device)
        self._inputs: dict[int, Tensor] = {}

    def facts(self) -> dict[str, int]:
        """Parameters and multiply-adds of a clip, of the network in its plain form."""
        plain = build(self.contender.plain_form(), torch.device("cpu"))
        return {"parameters": parameters(plain), "macs": multiply_adds(plain, self.contender.size)}

    def measure(self, what: str, batch_size: int, first: bool) -> dict[str, float]:
        """Seconds of one pass or training step, and of a first one the peak of memory, MB, beyond what there was.

        Later ones find the memory that the one before left, as in a process that does nothing else.
        """
        self.model.train(what == "training")
        before = self._begin_peak() if first else float("nan")
        if what == "training":
            seconds, kept = self._training(batch_size)
        else:
            seconds, kept = self._inference(batch_size), float("nan")
        peak = self._peak() - before if first else float("nan")
        if what == "throughput":
            _give_back()  # the other networks' passes need the room
        return {"seconds": seconds, "peak_mb": peak, "kept_mb": kept}

    def _clips(self, batch_size: int) -> Tensor:
        if batch_size not in self._inputs:
            shape = (batch_size, self.contender.num_frames, 3, self.contender.size, self.contender.size)
            generator = torch.Generator().manual_seed(0)
            clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            self._inputs = {batch_size: clips.to(self.device)}
        return self._inputs[batch_size]

    @torch.inference_mode()
    def _inference(self, batch_size: int) -> float:
        clips = self._clips(batch_size)
        self._wait()
        began = time.perf_counter()
        self.model(clips)
        self._wait()
        return time.perf_counter() - began

    def _training(self, batch_size: int) -> tuple[float, float]:
        """One step of SGD, and the activations that the forward pass keeps for it, MB (weights not counted)."""
        clips, labels = self._clips(batch_size), torch.zeros(batch_size, dtype=torch.int64, device=self.device)
        if not hasattr(self, "_optimizer"):
            self._optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
            self._kept = _kept(self.model, clips)
        self._wait()
        began = time.perf_counter()
        self._optimizer.zero_grad()
        F.cross_entropy(self.model(clips), labels).backward()
        self._optimizer.step()
        self._wait()
        return time.perf_counter() - began, self._kept

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _begin_peak(self) -> float:
        """Count the peak anew; returns what is in use, MB, or nan where nobody counts."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device) / 1e6
        _give_back()
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return float("nan")
        return _status("VmRSS")

    def _peak(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        return _status("VmHWM")


def _kept(model: nn.Module, clips: Tensor) -> float:
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(clips)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    del result
    return sum(size for place, size in found.items() if place not in weights) / 1e6


def _status(name: str) -> float:
    """A line of the process's status in MB; nan where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((float(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:")), float("nan"))


def _give_back() -> None:
    """Return freed memory to the system, so that the next peak begins at what is truly in use."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass
