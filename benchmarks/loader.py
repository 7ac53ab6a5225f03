"""Measures the loader on any lists of clips: python benchmarks/loader.py LIST [LIST ...]

Writes results/loader-MACHINE.json with the machine, the date and the versions. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from teinet.benchmark.data import benchmark_loader
from teinet.benchmark.loading import Loading
from teinet.benchmark.throughput import usual_workers
from teinet.data.lists.splits import DataConfig
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.views import Views
from teinet.utils.machine import machine, machine_name

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", nargs="+", help="folders of class folders, or lists of clips")
    parser.add_argument("--views", nargs="+", default=["train"], help="train, 1x1, 10x3 (default: train)")
    parser.add_argument("--workers", type=int, nargs="+", default=None, help="default: 0, 1, 2, 4, ... up to the cores")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=30, help="for each number of workers")
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    results = []
    for path in args.lists:
        for views in args.views:
            loading = Loading(
                sampling=Sampling(num_frames=args.frames),
                preprocessing=Preprocessing(size=args.size, short_side=round(args.size * 256 / 224)),
                views=None if views == "train" else Views.parse(views),
                batch_size=args.batch_size,
            )
            report = benchmark_loader(
                DataConfig(path=path),
                loading,
                workers=args.workers or usual_workers(),
                clips=args.clips,
                seconds=args.seconds,
                say=lambda text, where=f"{path} {views}": print(f"{where}: {text}", flush=True),
            )
            results.append(report.to_dict())
    facts = machine()
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"loader-{args.machine or machine_name(facts)}.json"
    target.write_text(json.dumps({"machine": facts, "results": results}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
