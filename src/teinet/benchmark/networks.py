"""What networks cost on this machine, measured in turns, so that what else happens on it hits all alike."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from teinet.benchmark.contenders import Contender, label
from teinet.benchmark.throughput import Spread
from teinet.benchmark.worker import serve

Measure = Literal["latency", "throughput", "training"]
_END_SECONDS = 5  # that a process gets to end by itself


@dataclass
class Cost:
    """What one network cost.

    Args:
        seconds: of a pass or step, one for each round, by measure.
        ratios: the same round's time over TSN's, by measure; empty where no TSN was measured beside it.
        peak_mb: the most memory that a pass or step took beyond what the process held, by measure.
        kept_mb: activations that a training step keeps; nan where none was measured.
        failed: why there are no numbers.
    """

    contender: Contender
    parameters: int = 0
    macs: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    kept_mb: float = float("nan")
    failed: str = ""

    def time(self, measure: str) -> Spread | None:
        """Seconds of a pass: median, lowest, highest."""
        return Spread.of(self.seconds[measure]) if self.seconds.get(measure) else None

    def ratio(self, measure: str) -> Spread | None:
        """Time over TSN's, of the same round each."""
        return Spread.of(self.ratios[measure]) if self.ratios.get(measure) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told: dict[str, Any] = {**self.contender.to_dict(), "name": self.contender.name}
        if self.failed:
            return {**told, "failed": self.failed}
        told |= {"parameters": self.parameters, "macs": self.macs}
        for measure, times in self.seconds.items():
            spread, ratio = self.time(measure), self.ratio(measure)
            told[measure] = {
                "seconds": {name: round(value, 6) for name, value in spread._asdict().items()},
                "over_tsn": None if ratio is None else {k: round(v, 4) for k, v in ratio._asdict().items()},
                "peak_mb": _number(self.peak_mb[measure]),
                "rounds": [round(value, 6) for value in times],
            }
        if "training" in told:
            told["training"]["kept_mb"] = _number(self.kept_mb)
        return told


def _number(megabytes: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(megabytes) else round(megabytes, 1)


@dataclass
class _Process:
    cost: Cost
    process: BaseProcess
    pipe: Connection

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
        self.process.join(_END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def benchmark_networks(
    contenders: Sequence[Contender],
    *,
    measures: Sequence[Measure] = ("latency", "throughput"),
    rounds: int = 3,
    repeats: int = 3,
    batch_sizes: dict[str, int] | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> list[Cost]:
    """Time each network in each round, there and back, each in a process of its own; the first round tells the peak.

    Two processes with the very same network can differ by some percent as long as they live (give a row twice to see
    it): where their memory lies decides. So all is repeated with fresh processes, and the rounds are put together.

    Args:
        contenders: the rows; a TSN among them of the same backbone, frames, engine and precision is what a row is
            compared with.
        measures: "latency" passes one clip, "throughput" many at once, "training" makes a step.
        rounds: at least 1, of each measure in each repeat; one pass before them does not count.
        repeats: at least 1, with fresh processes.
        batch_sizes: clips of a pass, by measure; by default 1, 16 and 1.
        device: cpu or cuda.
        say: is told what goes on.

    Returns:
        The costs in the order of the contenders; one that failed says why.
    """
    sizes = {"latency": 1, "throughput": 16, "training": 1} | (batch_sizes or {})
    costs = [Cost(contender) for contender in contenders]
    for repeat in range(repeats):
        where = f"repeat {repeat + 1} of {repeats}, " if repeats > 1 else ""
        _repeat(costs, measures, rounds, sizes, device, lambda text, where=where: say(where + text))
    _compare(costs)
    return costs


def _repeat(
    costs: Sequence[Cost],
    measures: Sequence[Measure],
    rounds: int,
    sizes: dict[str, int],
    device: str,
    say: Callable[[str], None],
) -> None:
    processes: list[_Process] = []
    try:
        for cost in costs:
            if cost.failed:
                continue
            say(f"building {label(cost.contender)}")
            process = _start(cost, device)
            processes.append(process)
            facts = process.ask(None)
            if facts is not None:
                cost.parameters, cost.macs = facts["parameters"], facts["macs"]
        for measure in measures:
            _rounds(processes, measure, sizes[measure], rounds, say)
    finally:
        for process in processes:
            process.end()


def _start(cost: Cost, device: str) -> _Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(cost.contender, device, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Process(cost, process, ours)


def _rounds(
    processes: list[_Process], measure: Measure, batch_size: int, rounds: int, say: Callable[[str], None]
) -> None:
    for turn in range(rounds + 1):
        order = processes if turn % 2 else processes[::-1]
        for process in order:
            cost = process.cost
            if cost.failed or (measure == "training" and cost.contender.engine != "eager"):
                continue
            if measure != "training" and cost.contender.checkpointing != "none":
                continue
            what = f"round {turn} of {rounds}" if turn else "warming up"
            say(f"{measure}, {what}: {label(cost.contender)}")
            answer = process.ask((measure, batch_size, turn == 1))
            if answer is None or not turn:
                continue
            cost.seconds.setdefault(measure, []).append(answer["seconds"])
            cost.peak_mb.setdefault(measure, answer["peak_mb"])
            cost.kept_mb = answer["kept_mb"] if measure == "training" else cost.kept_mb


def _compare(costs: list[Cost]) -> None:
    good = [cost for cost in costs if not cost.failed]
    found = {cost.contender: cost for cost in reversed(good)}  # of two alike the first
    for cost in good:
        plain = found.get(cost.contender.tsn()) if cost.contender.backbone else None
        for measure, times in cost.seconds.items() if plain else ():
            if len(plain.seconds.get(measure, ())) == len(times):
                cost.ratios[measure] = [ours / theirs for ours, theirs in zip(times, plain.seconds[measure])]
