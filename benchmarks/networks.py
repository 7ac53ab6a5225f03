"""Measures what the networks cost, next to how others write them: python -m benchmarks.networks [SET ...]

Writes results/networks-SET-MACHINE.json with the machine, the date and the versions. Let nothing else run meanwhile.
Sets: resnet50 (every form in fp32, with TSM as its authors and TEI as a textbook write it, TSN twice), frames (8 and
16), clips (many at once), memory (that a process keeps, and that it gives back), pair (TSN, TEINet and TSN again in
plain torch: few enough for many fresh processes), backbones, training, peers; where the processor has bf16 units also
bf16; on a GPU also gpu (batch 1 and 64, bf16). All networks of a set are in memory at once, up to 19, a gigabyte each.
Eager and inductor networks in bf16 run under autocast.

Each network has a process of its own, so that its memory can be told from the others' and no compiled program serves
two of them. Two processes with the very same network differ by some percent as long as they live (a second TSN in a set
shows it): where their memory lies decides. So all is repeated with fresh processes, and the rounds are put together.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contenders import PEERS, Contender, build, label
from benchmarks.naming import machine_name
from teinet.evaluation.speed import Timing, begin_peak, peak_mb
from teinet.kernels import available_forms
from teinet.models.classifier import multiply_adds, parameters
from teinet.models.optimized import native_precision
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
OURS = ("tsn", "tsm", "tim", "teinet")
SETS = ("resnet50", "bf16", "pair", "frames", "clips", "memory", "backbones", "training", "peers", "gpu")
MEASURES = {"clips": ("throughput",), "training": ("training",), "gpu": ("latency", "throughput", "training")}


def contenders(name: str) -> list[Contender]:
    """The rows of a set."""
    if name == "resnet50":
        engines = ("eager", "folded", "inductor", "compile")
        found = [Contender(network=n, engine=engine) for engine in engines for n in OURS]
        others = ("tsm-authors", "teinet-textbook", "tsn")  # a second TSN shows what differs between processes alone
        return [*found, *(Contender(network=n) for n in others)]
    if name == "bf16":
        found = [Contender(network=n, engine=e, precision="bf16") for e in ("folded", "compile") for n in OURS]
        small = [
            Contender(network=n, backbone=b, engine="compile", precision="bf16")
            for b in ("mobilenetv2_100", "efficientnet_lite0")
            for n in ("tsn", "teinet", "tsn")
        ]
        return [*found, Contender(network="teinet", engine="compile"), *small]
    if name == "pair":
        return [Contender(network=n) for n in ("tsn", "teinet", "tsn")]
    if name == "frames":
        return [Contender(network=n, num_frames=t) for t in (8, 16) for n in OURS]
    if name == "clips":  # five networks keep 4 GB each
        return [Contender(network=n) for n in (*OURS, "tsn")]
    if name == "memory":
        small = ("resnet50", "efficientnet_lite0")
        return [
            Contender(network=n, backbone=b, memory=m)
            for b in small
            for m in ("kept", "freed")
            for n in ("tsn", "teinet")
        ]
    if name == "backbones":
        return [
            Contender(network=n, backbone=b, engine=e)
            for b in ("resnet18", "mobilenetv2_100", "efficientnet_lite0")
            for e in ("eager", "compile")
            for n in ("tsn", "teinet", "tsn")
        ]
    if name == "training":
        again = [Contender(network="teinet", checkpointing=what) for what in ("temporal", "blocks")]
        half = [Contender(network=n, precision="bf16") for n in ("tsn", "teinet")]
        return [*(Contender(network=n) for n in OURS), *again, *(half if native_precision(CPU) == "bf16" else [])]
    if name == "peers":
        found = [Contender(network=n, num_frames=8) for n in ("tsn", "teinet")]
        return [*found, *(Contender(network=n, backbone="", num_frames=t, size=s) for n, (t, s) in PEERS.items())]
    half = [Contender(network=n, engine=e, precision="bf16") for e in ("folded", "compile") for n in OURS]
    training = [Contender(network=n, engine=e, precision="bf16") for e in ("eager", "inductor") for n in OURS]
    return [*half, *training]


@dataclass
class Cost:
    """What one network cost: seconds of a pass or step, and the same round's time over TSN's, by measure.

    `peak_mb` is the most memory that a pass took beyond what the process held, `kept_mb` the activations that a step of
    training keeps; `failed` says why there are no numbers.
    """

    contender: Contender
    parameters: int = 0
    macs: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    kept_mb: float = float("nan")
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told: dict[str, Any] = {**asdict(self.contender), "name": self.contender.name}
        if self.failed:
            return {**told, "failed": self.failed}
        told |= {"parameters": self.parameters, "macs": self.macs}
        for measure, times in self.seconds.items():
            told[measure] = {
                "seconds": _rounded(times),
                "over_tsn": _rounded(self.ratios[measure]) if self.ratios.get(measure) else None,
                "peak_mb": _number(self.peak_mb[measure]),
                "rounds": [round(value, 6) for value in times],
            }
        if "training" in told:
            told["training"]["kept_mb"] = _number(self.kept_mb)
        return told


def _rounded(values: Sequence[float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in Timing.of(values)._asdict().items()}


def _number(megabytes: float) -> float | None:
    return None if math.isnan(megabytes) else round(megabytes, 1)


@dataclass
class Worker:
    """A process that holds a network, seen from outside."""

    cost: Cost
    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, cost: Cost, device: str) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(cost.contender, device, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(cost, process, ours)

    def ask(self, request: tuple[str, int, bool] | None) -> dict[str, Any] | None:
        """What the process answers; None where it failed, which the cost then says."""
        try:
            if request is not None:
                self.pipe.send(request)
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            kind, answer = "failed", "its process ended, probably for want of memory"
        if kind == "failed":
            self.cost.failed = answer
            self.cost.seconds.clear()
            return None
        return answer

    def end(self) -> None:
        with suppress(OSError):
            self.pipe.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def measure(
    rows: Sequence[Contender],
    *,
    measures: Sequence[str],
    sizes: dict[str, int],
    rounds: int,
    repeats: int,
    device: str = "cpu",
    say: Any = lambda text: None,
) -> list[Cost]:
    """Time each network in each round, there and back; the first round tells the peak of memory.

    Args:
        rows: a TSN among them of the same backbone, frames, engine and precision is what a row is compared with.
        measures: "latency" passes one clip, "throughput" many at once, "training" makes a step.
        sizes: clips of a pass, by measure.
        rounds, repeats: of each measure in each repeat, and of all of it; one pass before the rounds does not count.
        say: called with each step.
    """
    costs = [Cost(row) for row in rows]
    for repeat in range(repeats):
        workers: list[Worker] = []
        try:
            for cost in costs:
                if not cost.failed:
                    workers.append(Worker.start(cost, device))
                    facts = workers[-1].ask(None)
                    cost.parameters, cost.macs = facts.values() if facts else (0, 0)
            for what in measures:
                for turn in range(rounds + 1):
                    say(f"repeat {repeat + 1}, {what}, round {turn}")
                    for worker in workers if turn % 2 else workers[::-1]:
                        _ask(worker, what, sizes[what], turn)
        finally:
            for worker in workers:
                worker.end()
    compare(costs)
    return costs


def _ask(worker: Worker, what: str, batch_size: int, turn: int) -> None:
    cost, row = worker.cost, worker.cost.contender
    trains = row.engine in ("eager", "inductor")
    if cost.failed or (not trains if what == "training" else row.checkpointing != "none"):
        return
    answer = worker.ask((what, batch_size, turn == 1))
    if answer is not None and turn:
        cost.seconds.setdefault(what, []).append(answer["seconds"])
        cost.peak_mb.setdefault(what, answer["peak_mb"])
        if what == "training" and turn == 1:
            cost.kept_mb = answer["kept_mb"]


def compare(costs: Sequence[Cost]) -> None:
    """Give each network its time over that of its TSN, round by round."""
    found = {cost.contender: cost for cost in reversed(costs) if not cost.failed}  # of two alike the first
    for cost in found.values():
        plain = found.get(cost.contender.tsn()) if cost.contender.backbone else None
        for what, times in cost.seconds.items() if plain else ():
            if len(plain.seconds.get(what, ())) == len(times):
                cost.ratios[what] = [ours / theirs for ours, theirs in zip(times, plain.seconds[what])]


def serve(contender: Contender, device: str, pipe: Connection) -> None:
    """Build the network, then answer (measure, batch size, first) until None comes; errors are answers too."""
    logging.disable(logging.WARNING)
    if contender.memory == "kept":
        keep_freed_memory()  # as the commands do
    sys.stdout = open(os.devnull, "w")  # compilers' chatter
    try:
        network = Measured(contender, torch.device(device))
        pipe.send(("ready", network.facts()))
        while (request := pipe.recv()) is not None:
            pipe.send(("done", network.measure(*request)))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(("failed", " ".join(str(error).split())[:300] or type(error).__name__))


class Measured:
    """A network in its process."""

    def __init__(self, contender: Contender, device: torch.device):
        self.contender, self.device = contender, device
        self.model = build(contender, device)
        self.optimizer: torch.optim.Optimizer | None = None

    def facts(self) -> dict[str, int]:
        """Parameters and multiply-adds of a clip, of the network in its plain form."""
        plain = build(self.contender.plain_form(), torch.device("cpu"))
        return {"parameters": parameters(plain), "macs": multiply_adds(plain, self.contender.size)}

    def measure(self, what: str, batch_size: int, first: bool) -> dict[str, float]:
        """Seconds of one pass or training step, and of a first one the peak of memory."""
        self.model.train(what == "training")
        shape = (batch_size, self.contender.num_frames, 3, self.contender.size, self.contender.size)
        generator = torch.Generator().manual_seed(0)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(self.device)
        kept = self._kept(clips) if what == "training" and first else float("nan")
        before = begin_peak(self.device) if first else float("nan")
        self._wait()
        began = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.contender.autocast):
            if what == "training":
                self._step(clips)
            else:
                with torch.inference_mode():
                    self.model(clips)
        self._wait()
        seconds = time.perf_counter() - began
        peak = peak_mb(self.device) - before if first else float("nan")
        return {"seconds": seconds, "peak_mb": peak, "kept_mb": kept}

    def _step(self, clips: Tensor) -> None:
        """One step of SGD."""
        labels = torch.zeros(len(clips), dtype=torch.int64, device=self.device)
        self.optimizer = self.optimizer or torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(clips).float(), labels).backward()
        self.optimizer.step()

    def _kept(self, clips: Tensor) -> float:
        """The activations that a forward pass keeps for the backward one, MB; weights not counted."""
        found: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = self.model(clips)
        weights = {p.untyped_storage().data_ptr() for p in self.model.parameters()}
        del result
        return sum(size for place, size in found.items() if place not in weights) / 1e6

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def over(costs: Sequence[Cost], ours: dict[str, str], theirs: dict[str, str]) -> list[float] | None:
    """Latency of one network over another's, round by round: median, lowest, highest."""

    def find(wanted: dict[str, str]) -> Cost | None:
        fits = [c for c in costs if all(getattr(c.contender, key) == value for key, value in wanted.items())]
        return fits[0] if fits and fits[0].seconds.get("latency") else None

    first, second = find(ours), find(theirs)
    if first is None or second is None:
        return None
    pairs = zip(first.seconds["latency"], second.seconds["latency"])
    return [round(value, 4) for value in Timing.of([a / b for a, b in pairs])]


def pairs_of(costs: Sequence[Cost]) -> dict[str, list[float] | None]:
    """The ratios that docs quote of the sets resnet50 and bf16; None where networks are not among them."""
    eager, authors = {"network": "teinet", "engine": "eager"}, {"network": "tsm-authors"}
    fastest = {"network": "teinet", "engine": "compile", "precision": "fp32"}
    half = {**fastest, "precision": "bf16"}
    return {
        "teinet eager / tsm-authors eager": over(costs, eager, authors),
        "teinet compile / tsm-authors eager": over(costs, fastest, authors),
        "teinet eager / teinet-textbook eager": over(costs, eager, {"network": "teinet-textbook"}),
        "teinet compile bf16 / teinet compile fp32": over(costs, half, fastest),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=[], metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="of it all, with fresh processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--machine", default=None, help="its name in the files'; by default its processor and cores")
    args = parser.parse_args()
    device = torch.device(args.device)
    sizes = {"latency": 1, "throughput": 64 if device.type == "cuda" else 16, "training": 1}
    args.output.mkdir(parents=True, exist_ok=True)
    fits = {"gpu": device.type == "cuda", "bf16": native_precision(device) == "bf16"}
    for name in args.sets or [name for name in SETS if fits.get(name, True)]:
        costs = measure(
            contenders(name),
            measures=MEASURES.get(name, ("latency",)),
            sizes=sizes,
            rounds=args.rounds,
            repeats=args.repeats,
            device=args.device,
            say=lambda text, where=name: print(f"{where}: {text}", flush=True),
        )
        for cost in costs:
            times = "; ".join(f"{what} {1e3 * Timing.of(s).median:.4g} ms" for what, s in cost.seconds.items())
            print(f"{label(cost.contender)}: {cost.failed or times}")
        facts = machine()
        result = {
            "machine": facts,
            "device": args.device,
            "kernels": available_forms(),
            "rounds": args.rounds,
            "repeats": args.repeats,
            "batch_sizes": sizes,
            "ratios": {pair: ratio for pair, ratio in pairs_of(costs).items() if ratio},
            "networks": [cost.to_dict() for cost in costs],
        }
        target = args.output / f"networks-{name}-{args.machine or machine_name(facts)}.json"
        target.write_text(json.dumps(result, indent=2) + "\n")
        print(target, flush=True)


if __name__ == "__main__":
    main()
