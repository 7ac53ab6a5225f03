"""How long a list of Kinetics' size takes to load, and how much of it each data worker copies.

    python benchmarks/lists.py [--rows 250000] [--repeats 5] [--output benchmarks/results/lists.json]

Writes the list in several formats (with empty files, so that presence is really asked for), loads each several times
in turn, and prints medians with their spread; then forks workers that look at every path, and compares the memory
that they make their own with the same list as Python texts.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from teinet.data.lists.splits import DataConfig, load_splits


def write_lists(root: Path, rows: int) -> dict[str, Path]:
    """The same clips as a csv with named columns, as Kinetics has them, and as MMAction2 has them."""
    names = [f"class {i:03d}" for i in range(400)]
    clips = []
    for i in range(rows):
        label, clip = names[i % 400], f"{i:011d}_000010_000020"
        folder = root / "train" / label
        if i < 400:
            folder.mkdir(parents=True)
        (folder / f"{clip}.mp4").touch()
        clips.append((f"train/{label}/{clip}.mp4", label, i % 400))
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *((p, name, "train") for p, name, _ in clips)])
    kinetics = root / "annotations"
    kinetics.mkdir()
    with (kinetics / "train.csv").open("w", newline="") as file:
        lines = ((name, Path(p).name[:11], 10, 20, "train") for p, name, _ in clips)
        csv.writer(file).writerows([("label", "youtube_id", "time_start", "time_end", "split"), *lines])
    (root / "train.txt").write_text("".join(f"{p} {number}\n" for p, _, number in clips))
    return {"table": root / "clips.csv", "kinetics": kinetics / "train.csv", "mmaction": root / "train.txt"}


def own_megabytes(paths, ready, go) -> None:
    """In a worker: look at every path, as an epoch does, and tell how much memory became this process's own."""

    def private() -> float:
        text = Path("/proc/self/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty")) / 1024

    before = private()
    kept = [paths[i] for i in range(0, len(paths), 997)]
    for i in range(len(paths)):
        len(paths[i])
    ready.put(private() - before)
    go.wait()
    del kept


def copied(paths) -> float:
    """Megabytes that a forked worker makes its own."""
    context = multiprocessing.get_context("fork")
    ready, go = context.Queue(), context.Event()
    process = context.Process(target=own_megabytes, args=(paths, ready, go))
    process.start()
    found = ready.get()
    go.set()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lists = write_lists(Path(folder), args.rows)
        seconds: dict[str, list[float]] = {name: [] for name in lists}
        for _ in range(args.repeats):
            for name, path in lists.items():
                began = time.perf_counter()
                splits = load_splits(DataConfig(path=str(path), val_share=0.0, root=folder))
                seconds[name].append(time.perf_counter() - began)
                assert sum(map(len, splits.values())) == args.rows
        packed = splits["train"].paths
        memory = {"packed": copied(packed), "list of str": copied(list(packed))}
    result = {
        "rows": args.rows,
        "seconds": {n: {"median": median(s), "min": min(s), "max": max(s)} for n, s in seconds.items()},
        "megabytes_copied_by_a_worker": memory,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    for name, s in result["seconds"].items():
        print(f"{name:<10} {s['median']:.2f} s ({s['min']:.2f} to {s['max']:.2f})")
    for name, size in memory.items():
        print(f"a worker copies {size:.1f} MB of paths kept as {name}")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
