"""Kills commands at random moments and runs them again: python -m benchmarks.power_cuts [--kills 200] [--jobs test]

Each command first runs undisturbed. Then it is killed with all its processes (SIGKILL, as in a power cut) after a
random share of that time, again and again, each time in a folder of its own; and `--disks` times it runs on a disk that
is too small. After each cut the same command, or `train --resume` where a state was saved, runs to its end. It fails if

- a file has its final name and cannot be read: cut-off JSON, CSV, weights, video;
- the result differs from the undisturbed one, in any byte but those of dates, times and paths;
- work that was done before the cut (a saved epoch, a file that was checked, copied or searched) is done again.

Writes results/power_cuts-MACHINE.json for all jobs, or with --save for some. Small disks are tmpfs mounts, which only
root can make; others leave them out.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import torch
import torchvision
from rich.progress import track
from safetensors.numpy import load_file
from safetensors.torch import save_file

from benchmarks.naming import machine_name
from teinet.cli.main import main
from teinet.data.motion_pairs import MotionPairs, draw
from teinet.kernels.build import native
from teinet.models import create_model
from teinet.recognition import Recognizer
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
_SMALL = "--model teinet_resnet10t --model.pretrained false --frames 2 --size 32 --epochs 3 --batch-size 6 --workers 0"


@dataclass(frozen=True)
class Job:
    """A command that writes below `out/`, and the result to compare."""

    words: str
    result: Callable[[Path], Any]
    disk: int  # bytes on which it does not fit
    done: Callable[[Path], int] = lambda place: 0  # parts of the work that are saved
    resumed: Callable[[str], int] = lambda said: 0  # parts that were not done again, by what was printed

    def restart(self, place: Path) -> list[str]:
        """Return the words of the command that continues after a cut."""
        if self.words.startswith("train") and (place / "out/run/resume.ckpt").exists():
            return ["train", "--resume", "out/run"]
        return self.words.split()


@dataclass
class Outcome:
    """What came of a job."""

    seconds: float = 0.0
    cuts: int = 0
    before_the_end: int = 0  # cuts that came while the command ran
    full_disks: int = 0
    continued: int = 0  # after cuts that left parts of the work done
    failures: list[str] = field(default_factory=list)


def _weights(path: Path) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


def _bytes_below(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(pattern))}


def _training(place: Path) -> Any:
    with (place / "out/run/log.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in ("seconds", "data_share")} for row in csv.DictReader(file)]
    return _weights(place / "out/run/last.safetensors"), _weights(place / "out/run/best.safetensors"), rows


def _test(place: Path) -> Any:
    arrays, numbers = (
        load_file(place / "out/t/scores.safetensors"),
        json.loads((place / "out/t/metrics.json").read_text()),
    )
    tables = [(place / f"out/t/{name}.csv").read_bytes() for name in ("clips", "per_class")]
    return arrays["probabilities"].tobytes(), numbers["top1"], tables


def _text(name: str) -> Callable[[Path], Any]:
    return lambda place: (place / "out" / name).read_bytes()


def _epochs(place: Path) -> int:
    state = place / "out/run/resume.ckpt"  # saved after each epoch
    return torch.load(state, weights_only=True)["epoch"] + 1 if state.exists() else 0


def _lines(name: str) -> Callable[[Path], int]:
    """Return a count of the finished lines of a journal, without its first."""
    return lambda place: max(0, (place / name).read_bytes().count(b"\n") - 1) if (place / name).exists() else 0


def _said(pattern: str) -> Callable[[str], int]:
    return lambda said: int(found[1]) if (found := re.search(pattern, said)) else 0


def _found(place: Path) -> int:
    return len(list((place / "out/events.csv.partial").glob("*.npz")))


def _features(place: Path) -> int:
    """Return the number of clips whose features are kept, unless the work is done."""
    return 0 if (place / "out/probe.safetensors").exists() else len(list(place.glob("cache/features/*/*.npy")))


def _check(place: Path) -> Any:
    with (place / "out/check.csv").open() as file:
        return list(csv.DictReader(file))


JOBS = {
    "train": Job(
        f"train clips --name run --output out {_SMALL}", _training, 40_000_000,
        _epochs, lambda said: 3 - len(set(re.findall(r"^epoch +(\d)/3", said, re.MULTILINE))),
    ),
    "test": Job("test net.safetensors --data clips --views 2x1 --workers 0 --output out/t", _test, 30_000),
    "predict": Job("predict net.safetensors clips --output out/answers.json", _text("answers.json"), 4_000),
    "timeline": Job(
        "timeline net.safetensors long --output out/events.csv --threshold 0.2 --page out/pages/",
        lambda place: (_text("events.csv")(place), _bytes_below(place / "out/pages", "*.html")), 60_000,
        _found, _said(r"(\d+) of \d+ videos were finished before"),
    ),
    "data check": Job(
        "data check clips --output out/check.csv --workers 1", _check, 8_000,
        _lines("out/check.csv.journal"), _said(r"\((\d+) known from an earlier check"),
    ),
    "data shrink": Job(
        "data shrink clips --output out/small --short-side 32 --workers 1",
        lambda place: (_text("small/clips.csv")(place), _bytes_below(place / "out/small", "*.mp4")), 60_000,
        _lines("out/small/shrink.jsonl"), _said(r", (\d+) of them before"),
    ),
    "probe": Job(
        "probe clips --backbone resnet10t --backbone-weights backbone.safetensors --frames 2 --frame-size 32x32 "
        "--folds 2 --shuffles 1 --workers 1 --output out/probe.safetensors",
        lambda place: _weights(place / "out/probe.safetensors"), 10_000_000,
        _features, _said(r"features of (\d+) clips? kept"),
    ),
    "convert": Job(
        "convert foreign.pth --labels labels.txt --frames 2 --output out/net.safetensors",
        lambda place: _weights(place / "out/net.safetensors"), 10_000_000,
    ),
}  # fmt: skip


def start(words: list[str], place: Path) -> int:
    """Run a command in a new process, in a group of its own; return its id."""
    sys.stdout.flush()
    if process := os.fork():
        with suppress(OSError):  # the process has done it, and may have ended
            os.setpgid(process, process)  # in both, as a cut may come at once
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(place)
        os.environ["TEINET_CACHE"] = str(place / "cache")
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL if name == signal.SIGTERM else signal.default_int_handler)
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(process: int) -> int:
    """Return the exit code of a process that `start` began."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def unreadable(folder: Path) -> list[str]:
    """Return the files below a folder that have their final name but not their whole content."""
    bad = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith(".part") or (path.stat().st_size == 0 and path.name == ".lock"):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".safetensors":
                load_file(path)
            elif path.suffix == ".ckpt":
                torch.load(path, map_location="cpu", weights_only=True)
            elif path.suffix == ".mp4":
                with av.open(str(path)) as video:
                    assert sum(1 for _ in video.decode(video=0))
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith(">"), "cut off"
            elif path.suffix in (".csv", ".yaml"):
                assert path.read_text().endswith("\n"), "cut off"
        except Exception as error:
            bad.append(f"{path.relative_to(folder)}: {error!r}"[:200])
    return bad


def materials(place: Path) -> None:
    """Write what the jobs read."""
    torch.set_num_threads(1)
    draw(place / "drawn", MotionPairs(size=48, frames=12, train=2, val=1, test=1))
    (place / "clips").mkdir()
    for split in ("train", "val"):
        shutil.copytree(place / "drawn" / split, place / "clips" / split)
    (place / "long").mkdir()
    for number, path in enumerate(sorted((place / "drawn" / "train").rglob("*.mp4"))[:6]):
        shutil.copy(path, place / "long" / f"{number}.mp4")
    torch.manual_seed(0)
    names = sorted(folder.name for folder in (place / "drawn" / "train").iterdir())
    model = create_model("teinet_resnet10t", num_classes=len(names), num_frames=2, causal=True)
    Recognizer(model, names, header={"frame_interval": 0.1}).save(place / "net.safetensors")
    backbone = create_model("tsn_resnet10t", num_classes=2).state_dict()
    save_file({key: value.contiguous() for key, value in backbone.items()}, place / "backbone.safetensors")
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), place / "foreign.pth")
    (place / "labels.txt").write_text("a\nb\nc\n")


@contextmanager
def fresh(source: Path, size: int | None = None) -> Iterator[Path]:
    """Give a folder with links to the materials and an empty out/, on a disk of `size` bytes if that is given."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for path in source.iterdir():
            (place / path.name).symlink_to(path)
        (place / "out").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place / "out")]
        if size is not None:
            subprocess.run(mount, check=True)
        try:
            yield place
        finally:
            if size is not None:
                subprocess.run(["umount", "-l", str(place / "out")], check=True)


def finish(job: Job, place: Path, want: Any, outcome: Outcome, cut: str) -> None:
    """Run a job to its end after a cut, and compare."""
    outcome.failures += [f"{cut}: {bad}" for bad in unreadable(place / "out")]
    done, words = job.done(place), job.restart(place)
    code = wait(start(words, place))
    said = (place / "said.txt").read_text()
    outcome.continued += done > 0
    if code == 2 and "; --overwrite replaces" in said:  # the cut came after the end
        code = 0
    if code == 0 and done != job.resumed(said):
        outcome.failures.append(f"{cut}: {done} parts were done, and {job.resumed(said)} were kept: {said[-300:]}")
    if code != 0:
        outcome.failures.append(f"{cut}: restarted, exit code {code}: {said[-300:]}")
        return
    try:
        if job.result(place) != want:
            outcome.failures.append(f"{cut}: another result than undisturbed")
    except OSError as error:
        outcome.failures.append(f"{cut}: restarted, {error}")


def run(job: Job, source: Path, kills: int, disks: int, rng: random.Random, name: str) -> Outcome:
    """Run a job undisturbed, then cut and continued."""
    outcome = Outcome()
    with fresh(source) as place:
        began = time.perf_counter()
        if code := wait(start(job.words.split(), place)):
            outcome.failures.append(f"undisturbed, exit code {code}: {(place / 'said.txt').read_text()[-500:]}")
            return outcome
        outcome.seconds, want = time.perf_counter() - began, job.result(place)
    for _ in track(range(kills), f"{name}: cuts"):
        with fresh(source) as place:
            process, share = start(job.words.split(), place), rng.random()
            time.sleep(share * outcome.seconds)
            outcome.before_the_end += os.waitpid(process, os.WNOHANG)[0] == 0
            try:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            outcome.cuts += 1
            finish(job, place, want, outcome, f"cut at {share:.0%}")
    for number in range(disks if os.geteuid() == 0 else 0):
        with fresh(source, int(job.disk * (number + 1) / disks)) as place:
            code, said = wait(start(job.words.split(), place)), (place / "said.txt").read_text().strip()
            if code == 0:
                outcome.failures.append(f"a disk of {int(job.disk * (number + 1) / disks)} bytes was large enough")
            elif code != 1 or "Traceback" in said:
                outcome.failures.append(f"a full disk, exit code {code}: {said[-300:]}")
            outcome.full_disks += 1
            subprocess.run(["mount", "-o", "remount,size=1g", str(place / "out")], check=True)
            finish(job, place, want, outcome, "a full disk")
    return outcome


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="cuts, of all jobs together")
    parser.add_argument("--disks", type=int, default=3, help="small disks for each job")
    parser.add_argument("--jobs", default=",".join(JOBS), help="which, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="write the results of these jobs next to those of others")
    args = parser.parse_args()
    names, rng = args.jobs.split(","), random.Random(args.seed)
    found: dict[str, Outcome] = {}
    for module in ("evaluation.testing", "training.trainer", "pages.recording_page", "probing.probe_job"):
        import_module(f"teinet.{module}")  # once, before the processes of the commands
    native()
    with tempfile.TemporaryDirectory() as folder:
        writer = multiprocessing.get_context("fork").Process(target=materials, args=[Path(folder)])
        writer.start()  # torch must not have computed in this process, as the commands' are its copies
        writer.join()
        for number, name in enumerate(names):
            kills = args.kills * (number + 1) // len(names) - args.kills * number // len(names)
            found[name] = run(JOBS[name], Path(folder), kills, args.disks, rng, name)
            print(f"{name}: {found[name]}")
    failures = sum(len(each.failures) for each in found.values())
    print(f"{sum(each.cuts for each in found.values())} cuts, {failures} failures")
    if args.save or set(names) == set(JOBS):
        facts = machine()
        path = RESULTS / f"power_cuts-{machine_name(facts)}.json"
        others = json.loads(path.read_text())["jobs"] if path.exists() else {}
        numbers = {
            "machine": facts,
            "seed": args.seed,
            "jobs": others | {name: vars(each) for name, each in found.items()},
        }
        path.write_text(json.dumps(numbers, indent=1) + "\n")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(_main())
