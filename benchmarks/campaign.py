"""Runs commands on thousands of damaged inputs: python -m benchmarks.campaign [--inputs 10000] [--jobs 2] [--only N]

Of each 20 inputs 7 are files of video with changed bytes, 4 files with changed packets, 2 folders of images, 2 lists of
clips, 3 weights and 2 recipes. Videos go through `data check`, `predict`, `timeline`, `watch` and one epoch of `train`,
many in one command; lists, weights and recipes through the commands that read them, one by one. It fails where

- a command crashes, prints a traceback or a warning of a library, or ends with a code that is not documented;
- it takes longer than its limit, or more than `MOST_MEMORY`;
- a file that it wrote cannot be read;
- frames differ from those that FFmpeg decodes one after the other, and no damage is reported.

Input N is made from the seed and N alone: `--only N` makes it again and prints what the commands say. Inputs that fail
are kept in `--keep`. Writes results/campaign-MACHINE.json when 10,000 of all kinds run.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from benchmarks.damaged_inputs import KINDS, NETWORK, VIDEOS, Input, Inputs, kind_of
from benchmarks.naming import machine_name
from benchmarks.power_cuts import fresh, unreadable
from benchmarks.same_frames import compare
from teinet.cli.main import main
from teinet.data.video import index
from teinet.kernels.build import native
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
TOGETHER = 100  # inputs in one command, where a command takes several
MOST_MEMORY = 2 * 2**30  # bytes of a process
_TRAIN = "--epochs 1 --batch-size 6 --workers 0 --run.devices 1 --run.max_unreadable 1 --run.name run --run.output out"
_NEW = f"--model {NETWORK} --model.pretrained false --frames 2 --size 32"
_CODES = {0, 1, 2}
# A name of an exception, where a reason in words belongs; or what a library prints.
_RAW = re.compile(r"Traceback|\b[A-Za-z]+(Error|Exception|Warning)\b|^\[\w+ @ 0x", re.M)
_OWN = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\S*/\S*")  # parts of a failure's text that others of its kind do not share

Run = Callable[[Path], int]


@dataclass(frozen=True)
class Step:
    """A command, or another test, on some inputs."""

    name: str
    inputs: tuple[Input, ...]
    run: Run
    seconds: float = 30.0


@dataclass(frozen=True)
class Finding:
    """A failure of a step on an input, or on several together."""

    numbers: tuple[int, ...]
    kind: str
    how: str
    step: str
    trouble: str

    @property
    def signature(self) -> str:
        """The failure without numbers, names and places: those of one kind share it."""
        return f"{self.step}: {_OWN.sub('_', self.trouble.splitlines()[-1])}"[:200]


class Campaign:
    """Runs the steps of inputs, and collects what the numbers of a campaign are."""

    def __init__(self, inputs: Inputs, keep: Path | None = None):
        self.inputs, self.keep = inputs, keep
        self.peak = self.compared = 0  # bytes; videos of which frames were compared with FFmpeg's
        self.codes: dict[str, Counter[int]] = {}  # by step

    def steps(self, inputs: Sequence[Input]) -> list[Step]:
        """Return what is done with inputs of one kind."""
        if inputs[0].kind in VIDEOS:
            return self._video_steps(tuple(inputs))
        steps = []
        for each in inputs:
            path, out = each.path, f"out/{each.number}"
            commands = {
                "lists": [f"data inspect {path} --json", f"data check {path} --workers 0 --output {out}.csv",
                          f"train {path} {_NEW} {_TRAIN}",
                          f"test net.safetensors --data {path} --workers 0 --output {out}"],
                "recipes": [f"train {path} clips --dry-run --json --workers 0",
                            f"train {path} clips --run.tests 1x1 {_NEW} {_TRAIN}"],
                "weights": [f"info {path} --json", f"predict {path} clips --json", f"timeline {path} clips/a/0.mp4",
                            f"watch {path} clips/a/0.mp4 --fast", f"train clips --weights {path} {_TRAIN}"],
            }[each.kind]  # fmt: skip
            if path.endswith(".pth"):
                commands = [f"convert {path} --labels labels.txt --backbone test_resnet --output {out}.safetensors"]
            for words in map(str.split, commands):
                name = " ".join(words[: 2 if words[0] == "data" else 1])
                steps.append(Step(name, (each,), partial(_command, words)))
        return steps

    def _video_steps(self, inputs: tuple[Input, ...]) -> list[Step]:
        paths = [each.path for each in inputs]
        commands = {
            "data check": "data check in --workers 0 --output out/check.csv".split(),
            "predict": "predict net.safetensors in --output out/answers.json".split(),
            "timeline": ["timeline", "net.safetensors", *paths, "--output", "out/events.csv"],
            "watch": ["watch", "net.safetensors", *paths, "--fast", "--output", "out/events.jsonl"],
            "train": f"train in --data.val_share 0.2 {_NEW} {_TRAIN}".split(),
        }
        runs = {name: partial(_command, words) for name, words in commands.items()}
        runs["frames"] = partial(compare, paths, self.inputs.seed)
        steps = [Step(name, inputs, run, 30.0 + len(inputs)) for name, run in runs.items()]
        random.Random(inputs[0].number).shuffle(steps)  # what one has remembered, others find
        return steps

    def run(self, numbers: Sequence[int], *, only: str = "", show: bool = False) -> list[Finding]:
        """Make inputs of one kind, run their steps (or one), and return what failed: one input, or several together."""
        found = []
        with fresh(self.inputs.materials) as place:
            self.inputs.add_whole(place / "in", numbers[0])
            inputs = [self.inputs.make(number, place) for number in numbers]
            steps = [step for step in self.steps(inputs) if only in ("", step.name)]
            for step, trouble in self._execute(steps, place, show=show):
                first = step.inputs[0]
                if len(step.inputs) == 1:
                    found.append(Finding((first.number,), first.kind, first.how, step.name, trouble))
                    self._keep(first, place, step.name, trouble)
                    continue
                half = len(numbers) // 2
                parts = [each for part in (numbers[:half], numbers[half:]) for each in self.run(part, only=step.name)]
                how = f"{len(numbers)} together"
                found += parts or [Finding(tuple(numbers), first.kind, how, step.name, trouble)]
        return found

    def _keep(self, each: Input, place: Path, step: str, trouble: str) -> None:
        """Copy an input that failed."""
        if self.keep is None:
            return
        target, own = self.keep / f"{each.kind}-{each.number}", place / "in" / str(each.number)
        source = own if own.exists() else place / each.path
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{step}.txt").write_text(f"{each}\n{trouble}\n")
        if source.is_file():
            shutil.copy(source, target)
        elif not (target / source.name).exists():
            shutil.copytree(source, target / source.name, symlinks=True, ignore=_pipes)

    def _execute(self, steps: list[Step], place: Path, *, show: bool) -> list[tuple[Step, str]]:
        """Run steps in a process, in another one where that dies; return those that failed, and how."""
        failed, done, log = [], 0, place / "steps.jsonl"
        while done < len(steps):
            log.write_text("")
            sys.stdout.flush()
            if not (process := os.fork()):
                _child(steps[done:], place, log, show)
            _, status, usage = os.wait4(process, 0)
            said = [json.loads(line) for line in log.read_text().splitlines()]
            for step, (trouble, code, compared) in zip(steps[done:], said):
                failed += [(step, trouble)] if trouble else []
                self.compared += compared if len(steps) > 1 else 0  # not again, where a failure is narrowed down
                self.codes.setdefault(step.name, Counter())[code] += 1
            done += len(said)
            self.peak = max(self.peak, usage.ru_maxrss * 1024)
            if usage.ru_maxrss * 1024 > MOST_MEMORY and steps[0].inputs[0].kind != "recipes":  # which may ask for it
                failed.append((steps[min(done, len(steps) - 1)], f"took {usage.ru_maxrss / 2**20:.1f} GB or less"))
            if done < len(steps):
                code = os.waitstatus_to_exitcode(status)
                how = {-signal.SIGALRM: "timed out"}.get(code, f"the process ended with {code}")
                said = (place / "said.txt").read_text(errors="replace")
                failed.append((steps[done], f"{said[-3000:]}\n{how} at {_last_place(said)}"))
                done += 1
        return failed


def _pipes(folder: str, names: list[str]) -> list[str]:
    """Return the names of pipes, which cannot be copied."""
    return [name for name in names if Path(folder, name).is_fifo()]


def _child(steps: list[Step], place: Path, log: Path, show: bool) -> None:
    """Run steps, write a line of JSON for each (what went wrong, exit code, videos compared), and end the process."""
    try:
        os.environ |= {"TEINET_CACHE": str(place / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
        os.chdir(place)
        torch.set_num_threads(1)  # after a fork, threads that do it at once fail
        terminal = os.dup(1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MOST_MEMORY,) * 2)
        for step in steps:
            trouble, code = _run_step(step)
            said = Path("said.txt").read_text(errors="replace")
            if show:
                os.write(terminal, f"--- {step.name}\n{said}{trouble}\n".encode(errors="replace"))
            compared = re.search(r"^compared (\d+)", said, re.M) if step.name == "frames" else None
            with log.open("a") as file:
                file.write(json.dumps([trouble, code, int(compared[1]) if compared else 0]) + "\n")
            shutil.rmtree("out")
            os.mkdir("out")
    finally:
        os._exit(0)


def _run_step(step: Step) -> tuple[str, int]:
    """Run a step in this process, with what it prints in said.txt; return what went wrong, and its exit code."""
    said = os.open("said.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    faulthandler.enable(2)
    faulthandler.dump_traceback_later(step.seconds, file=2)
    signal.setitimer(signal.ITIMER_REAL, step.seconds + 2)
    index.clear_memory()
    try:
        code = step.run(Path("out"))
    except BaseException:
        return traceback.format_exc(), -1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(said)
    return trouble_of(code, Path("said.txt").read_text(errors="replace"), Path("out")), code


def trouble_of(code: int, said: str, out: Path) -> str:
    """Return what is wrong with a command's exit code, what it said or the files that it wrote; empty if nothing."""
    said += "".join(path.read_text(errors="replace") for path in out.glob("*.csv"))
    if code not in _CODES:
        return f"exit code {code}"
    if raw := _RAW.search(said):
        line = said[said.rfind("\n", 0, raw.start()) + 1 :].splitlines()[0]
        return f"{said[-2000:]}\nsaid {line[:300]!r}"
    if code and not said.strip():
        return f"exit code {code} without a word"
    if bad := unreadable(out):
        return f"wrote {bad[0]}"
    return "left a file that ends in .part" if list(out.rglob("*.part")) else ""


def _command(words: list[str], out: Path) -> int:
    return main(words)


def _last_place(said: str) -> str:
    """Return the place in our code that a dumped stack names first."""
    return next(iter(re.findall(r'File ".*/(teinet/[^"]*", line \d+ in \w+)', said)), "?")


def _run_lot(whole: Campaign, show: bool, numbers: list[int]) -> tuple[list[Finding], dict, int, int]:
    whole.codes, whole.compared, whole.peak = {}, 0, 0
    return whole.run(numbers, show=show), whole.codes, whole.compared, whole.peak


def campaign(
    inputs: int,
    seed: int = 0,
    *,
    kinds: Sequence[str] = KINDS,
    keep: Path | None = None,
    only: int | None = None,
    first: int = 0,
    jobs: int = 1,
) -> tuple[list[Finding], dict[str, Any]]:
    """Run a campaign and print what fails; return that, and the numbers of the campaign."""
    torch.set_num_threads(1)
    for module in ("cli.train", "evaluation.testing", "training.trainer", "pages.recording_page", "detection.monitor"):
        import_module(f"teinet.{module}")  # once, before the processes of the commands
    native()
    began, found, lots = time.perf_counter(), list[Finding](), list[list[int]]()
    with tempfile.TemporaryDirectory() as name:
        whole = Campaign(Inputs(Path(name), seed), keep)
        for kind in dict.fromkeys(kinds):
            numbers = [n for n in range(first, first + inputs) if kind_of(n) == kind]
            lots += [numbers[i : i + TOGETHER] for i in range(0, len(numbers), TOGETHER)]
        lots = [[only]] if only is not None else lots
        run = partial(_run_lot, whole, only is not None)
        with get_context("fork").Pool(jobs) as pool:
            done = pool.imap_unordered(run, lots)
            for part, codes, compared, peak in track(done, "campaign", len(lots), disable=not sys.stdout.isatty()):
                whole.peak, whole.compared = max(whole.peak, peak), whole.compared + compared
                for name, counted in codes.items():
                    whole.codes.setdefault(name, Counter()).update(counted)
                for each in part:
                    where = f"input {', '.join(map(str, each.numbers))} ({each.kind}; {each.how})"
                    print(f"{where}: {each.step}: {each.trouble.splitlines()[-1]}", flush=True)
                    found.append(each)
    return found, {
        "machine": machine(),
        "seed": seed,
        "inputs": dict(Counter(kind_of(n) for lot in lots for n in lot)),
        "videos_compared": whole.compared,
        "exit_codes": {name: dict(sorted(codes.items())) for name, codes in whole.codes.items()},
        "peak_bytes": whole.peak,
        "seconds": round(time.perf_counter() - began),
        "failures": dict(Counter(each.signature for each in found).most_common()),
    }


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(dict.fromkeys(KINDS)), help="which, with commas between")
    parser.add_argument("--only", type=int, metavar="N", help="input N alone, and all that the commands say")
    parser.add_argument("--keep", type=Path, help="folder for inputs that fail")
    args = parser.parse_args()
    settings = {"kinds": args.kinds.split(","), "keep": args.keep, "only": args.only}
    settings |= {"first": args.first, "jobs": args.jobs}
    found, numbers = campaign(args.inputs, args.seed, **settings)
    print(json.dumps(numbers, indent=1))
    if args.only is None and args.inputs >= 10_000 and set(settings["kinds"]) == set(KINDS):
        name = f"campaign-{machine_name(numbers['machine'])}.json"
        (RESULTS / name).write_text(json.dumps(numbers, indent=1) + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(_main())
