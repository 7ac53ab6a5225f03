"""The rate of `teinet predict --ray local` over that of `teinet predict`: python -m benchmarks.bulk [--json FILE]

Both commands recognize the same drawn clips, in turns; between them the cache loses all but compiled kernels. A
command's start (imports, the network, Ray) is its time with one clip; rates are given with it and without it.

With --kills N, a command on Ray whose processes are killed while it works: one that decodes (by a signal as a crash in
a decoder sends it, and by one that cannot be caught), one with a network, and the command itself, up to N times in all
while it works; then the command is given again until it is done. Its rows must be those of an undisturbed command.

With --manifest-rows N, a job on Ray over a manifest of N names, and one over a tenth of them, with stubs in place of
the decoder and of the network: seconds to list and to plan, rows a second, and the memory of the process that leads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from teinet.data.motion_pairs import MotionPairs, draw_clip
from teinet.data.video.writer import write_video
from teinet.scale.manifest import read_manifest
from teinet.scale.parquet_rows import Results
from teinet.scale.predicting import Stages
from teinet.scale.ray_job import pack, run_job, unpack
from teinet.utils.machine import machine

DRAWN = 24  # different clips; the others are copies
KILLED = (
    ("decode_block", signal.SIGSEGV), ("decode_block", signal.SIGKILL), ("Network", signal.SIGKILL),
    ("command", signal.SIGKILL),
)  # fmt: skip
STUB = pa.schema({"path": pa.string(), "error": pa.string()})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default="motion_pairs")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128, help="pixels of a clip's frames")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--manifest-rows", type=int)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="teinet-bulk-") as scratch:
        if args.manifest_rows:
            found = manifest(Path(scratch), args.manifest_rows)
        else:
            found = kills(Path(scratch), args) if args.kills else rates(Path(scratch), args)
    print(json.dumps(found, indent=2))
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")


def draw(folder: Path, args: argparse.Namespace) -> None:
    """Write the clips of a job."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(args.clips):
        path = folder / f"{number:06}.mp4"
        if number < DRAWN:
            frames = draw_clip(number % 12, MotionPairs(size=args.size, frames=25, segments=1), rng)
            write_video(path, frames, 12)
        else:
            shutil.copy(folder / f"{number % DRAWN:06}.mp4", path)


def rates(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return clips a second of both commands, and the ratio in each round."""
    draw(scratch / "clips", args)
    one = scratch / "one"
    one.mkdir()
    shutil.copy(scratch / "clips" / "000000.mp4", one)
    ways = {"predict": ("--output", "answers.csv"), "ray": ("--ray", "local", "--output", "rows")}
    seconds(scratch, args.weights, one, ways["predict"])  # compiles
    rounds = []
    for number in range(args.rounds):
        found = {}
        for name in sorted(ways, reverse=bool(number % 2)):
            start, whole = (seconds(scratch, args.weights, folder, ways[name]) for folder in (one, scratch / "clips"))
            found[name] = {"start": start, "all": whole, "rate": args.clips / whole,
                           "rate_without_start": (args.clips - 1) / (whole - start)}  # fmt: skip
        found |= {
            f"ratio_of_{key}": found["ray"][key] / found["predict"][key] for key in ("rate", "rate_without_start")
        }
        rounds.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
    keys = ("ratio_of_rate", "ratio_of_rate_without_start")
    return {"clips": args.clips, "rounds": rounds, **{key: median(each[key] for each in rounds) for key in keys}}


def seconds(scratch: Path, weights: str, folder: Path, words: tuple[str, ...]) -> float:
    """Return the seconds of one command, in an empty folder, with a cache of compiled kernels."""
    for known in (scratch / "cache").glob("*.sqlite*"):
        known.unlink()
    with tempfile.TemporaryDirectory(dir=scratch) as here:
        began = time.monotonic()
        command = [sys.executable, "-m", "teinet", "predict", weights, str(folder), *words]
        done = subprocess.run(
            command, cwd=here, env={**os.environ, "TEINET_CACHE": f"{scratch}/cache"}, capture_output=True
        )
        if done.returncode:
            raise SystemExit(done.stderr.decode())
        return time.monotonic() - began


def kills(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return how a command whose processes are killed ends, next to an undisturbed one."""
    draw(scratch / "clips", args)
    env = {**os.environ, "TEINET_CACHE": f"{scratch}/cache"}
    command = [sys.executable, "-m", "teinet", "predict", args.weights, f"{scratch}/clips", "--ray", "local"]
    subprocess.run([*command, "--output", f"{scratch}/calm"], env=env, check=True, capture_output=True)
    rng, sent, out = np.random.default_rng(0), Counter[str](), scratch / "disturbed"
    while True:
        with open(scratch / "log", "ab") as log:
            running = subprocess.Popen([*command, "--output", str(out)], env=env, stdout=log, stderr=log)
        written = rows_in(out)
        while running.poll() is None and rows_in(out) == written:  # until it works
            time.sleep(0.1)
        for part, signal_ in KILLED:
            time.sleep(rng.uniform(0.5, 2))
            if sent.total() >= args.kills or running.poll() is not None:
                break
            if targets := [running.pid] if part == "command" else processes(part, str(scratch)):
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(targets), signal_)
                    sent[f"{signal_.name} to {part}"] += 1
        if (code := running.wait()) in (0, 1):
            break
        if code != -signal.SIGKILL:
            raise SystemExit(f"the command ended with {code}:\n{(scratch / 'log').read_text()[-2000:]}")
    calm, disturbed = (pq.read_table(scratch / name).sort_by("path") for name in ("calm", "disturbed"))
    return {
        "clips": args.clips,
        "sent": dict(sent),
        "rows": [calm.num_rows, disturbed.num_rows],
        "files": [len(set(table["path"].to_pylist())) for table in (calm, disturbed)],
        "errors": disturbed["error"].drop_null().to_pylist(),
        "rows_equal": sum(a == b for a, b in zip(calm.to_pylist(), disturbed.to_pylist())),
    }


def rows_in(folder: Path) -> int:
    """Return the number of rows that a job has written."""
    return sum(pq.read_metadata(part).num_rows for part in folder.glob("*.parquet"))


def processes(title: str, scratch: str) -> list[int]:
    """Return Ray's processes with these words in their titles whose environment names the folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if words.startswith(b"ray::") and title.encode() in words and scratch.encode() in environment:
            found.append(int(folder.name))
    return found


def decode(path: str, beat: object) -> list[dict[str, Any]]:
    """Stand in for a decoder."""
    return [{"path": path}]


class Network:
    """Stands in for a network."""

    def __init__(self, device: str):
        self.device = device

    def __call__(self, items: pa.Table) -> Iterator[pa.Table]:
        for rows in unpack(items):
            yield pack(rows.select(STUB.names))


def manifest(scratch: Path, count: int) -> dict[str, Any]:
    """Return what a long manifest costs, next to a short one."""
    found: dict[str, Any] = {}
    for rows in (count // 10, count):
        path = scratch / f"{rows}.parquet"
        pq.write_table(pa.table({"path": [f"/videos/{n % 1000:03}/{n:09}.mp4" for n in range(rows)]}), path)
        began = time.monotonic()
        paths = read_manifest(path)
        listed = time.monotonic() - began
        first: list[float] = []
        at = [time.monotonic()]

        def advance(done: int, before: int, total: int, first=first, at=at) -> None:
            first or first.append(time.monotonic())
            at[0] = time.monotonic()

        began = time.monotonic()
        results = Results(scratch / f"out-{rows}", "predict", {}, STUB)
        run_job(paths, results, Stages(decode, Network, {}, "cpu", 32, None), advance=advance)
        found[str(rows)] = {
            "list_seconds": listed,
            "seconds_to_the_first_rows": first[0] - began,
            "rows_per_second": rows / (at[0] - first[0]),
            "written": sum(pq.read_metadata(part).num_rows for part in results.folder.glob("*.parquet")),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(found[str(rows)]), file=sys.stderr, flush=True)
    few, many = found.values()
    return {"manifest": found, "ratio_of_rows_per_second": many["rows_per_second"] / few["rows_per_second"]}


if __name__ == "__main__":
    main()
