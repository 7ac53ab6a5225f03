"""What a few hundred clips give in four ways, on clips left out: python -m benchmarks.evidence.few_clips DATA_ROOT

probe: `teinet probe LIST`, the head that folds of the list chose on the frozen network.
tuned: `teinet train LIST --weights PROBE`, fine-tuning that starts from that probe; the weights that the run says to
    use.
chosen: `teinet train LIST` without any setting; the weights that the run says to use.
last: the last weights of that run.

LIST holds the clips that are not left out. Appends a line per data set, fold and way to
../results/evidence/few_clips.jsonl; what is there is not run again. --table prints what is there and runs nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import pstdev

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.splits import load_splits
from teinet.models.header import LAST, STATE
from teinet.training.start import weights_to_use
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent.parent / "results" / "evidence" / "few_clips.jsonl"
WAYS = ("probe", "tuned", "chosen", "last")


def by_folds(column: str) -> dict[str, dict]:
    return {f"fold {fold + 1}": {"folds": 5, "test_fold": fold, "group": column} for fold in range(5)}


def by_person(people: str) -> dict[str, dict]:
    return {f"person {one}": {"test": f"subject={one}", "group": "subject"} for one in people}


DATA = {
    "fights": ("fights/clips.csv", by_folds("source_video")),
    "utd_mhad": ("utd_mhad_depth/clips.csv", by_person("1357")),
    "msr_action3d": ("msr_action3d_depth/clips.csv", {"standard": {"test": "subject=2,4,6,8,10", "group": "subject"}}),
    "arid": ("arid_dark/clips.csv", by_folds("group")),
}


def divide(source: Path, settings: dict, folder: Path) -> tuple[Path, Path, int]:
    """Write the clips to learn from and those left out as two lists; return both, and how many are left out."""
    left_out = set(load_splits(DataConfig(path=str(source), **settings))["test"].paths)
    with source.open(newline="", encoding="utf-8") as file:
        rows = [row | {"path": str((source.parent / row["path"]).absolute())} for row in csv.DictReader(file)]
    lists = (folder / "clips.csv", folder / "left_out.csv")
    for path, out in zip(lists, (False, True)):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if (row["path"] in left_out) == out)
    return *lists, len(left_out)


def teinet(folder: Path, *words: object) -> str:
    command = [sys.executable, "-m", "teinet", *map(str, words)]
    with (folder / "log").open("a") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)
        log.write(done.stdout)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}; see {folder / 'log'}")
    return done.stdout


def learned(folder: Path, clips: Path, way: str, backbone_weights: str | None) -> Path:
    """Learn, or continue, and return the weights; done before, they are there."""
    probe, run = folder / "probe.safetensors", folder / way
    if way == "probe" or (way == "tuned" and not probe.is_file()):
        group = DATA[folder.parent.name][1][folder.name.replace("-", " ")]["group"]
        start = ["--backbone-weights", backbone_weights] if backbone_weights else []
        teinet(folder, "probe", clips, "--group", group, "--output", probe, "--overwrite", *start)
    if way == "probe":
        return probe
    if way == "last":
        return folder / "chosen" / LAST
    if (run / STATE).is_file():
        teinet(folder, "train", "--resume", run)
    else:
        start = ["--weights", probe] if way == "tuned" else []
        start += ["--model.backbone_weights", backbone_weights] if backbone_weights and way == "chosen" else []
        where = ["--run.output", folder, "--name", way, "--run.threads", 1, "--workers", 0]
        teinet(folder, "train", clips, *start, *where)
    return Path(weights_to_use(run)[0])


def measure(args: argparse.Namespace, data: str, fold: str, way: str) -> dict:
    path, folds = DATA[data]
    folder = args.work / data / fold.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    clips, left_out, count = divide(args.root / path, folds[fold], folder)
    weights = learned(folder, clips, way, args.backbone_weights)
    tested = teinet(
        folder, "test", weights, "--data", left_out, "--output", folder / f"test-{way}", "--overwrite", "--json"
    )
    top1, seconds = json.loads(tested)["top1"], round(time.monotonic() - began)
    return {"data": data, "fold": fold, "way": way, "top1": top1, "clips": count, "seconds": seconds}


def read() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def table() -> None:
    """Print the share of all clips left out that each way recognizes, and its standard deviation over folds."""
    rows = defaultdict(list)
    for line in read():
        rows[line["data"], line["way"]].append(line)
    print(f"| data | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for data, (_, folds) in DATA.items():
        cells = []
        for way in WAYS:
            found, clips = rows[data, way], sum(line["clips"] for line in rows[data, way])
            if not found:
                cells.append("–")
                continue
            right = sum(line["top1"] * line["clips"] for line in found) / clips
            spread = f" ± {100 * pstdev(line['top1'] for line in found):.1f}" if len(found) > 1 else ""
            some = f" ({len(found)} of {len(folds)} folds)" if len(found) < len(folds) else ""
            cells.append(f"{100 * right:.1f}{spread}{some}")
        print(f"| {data} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the data sets, see README.md")
    parser.add_argument("--backbone-weights", help="of EfficientNet-Lite0, timm's tf_efficientnet_lite0.in1k")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--work", type=Path, default=Path("runs/few_clips"))
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time; one of fights needs 8 GB")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        return table()
    this = machine()
    about = {name: this[name] for name in ("processor", "cores", "date")} | {"torch": this["versions"]["torch"]}

    def fold(data_and_fold: tuple[str, str]) -> None:
        known = {(line["data"], line["fold"], line["way"]) for line in read()}
        for way in args.ways:
            if (*data_and_fold, way) in known:
                continue
            line = json.dumps(measure(args, *data_and_fold, way) | {"machine": about})
            with RESULTS.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(fold, [one for data in args.data for one in product([data], DATA[data][1])]))


if __name__ == "__main__":
    main()
