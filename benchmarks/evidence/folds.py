"""Writes which fold each clip of a list belongs to, as its column `fold`, 1 to K:
python benchmarks/evidence/folds.py LIST.csv --group source_video

The folds are the library's own (data.folds, data.group, seed 0): groups stay whole, each fold has its share of each
class.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from teinet.data.lists.splits import DataConfig, load_splits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--group", required=True)
    args = parser.parse_args()
    fold_of = {}
    for fold in range(args.folds):
        config = DataConfig(path=str(args.list), folds=args.folds, test_fold=fold, group=args.group)
        for path in load_splits(config)["test"].paths:
            fold_of[Path(path).relative_to(args.list.parent.absolute()).as_posix()] = fold + 1
    with args.list.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with args.list.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*(name for name in rows[0] if name != "fold"), "fold"])
        writer.writeheader()
        writer.writerows({**row, "fold": fold_of[row["path"]]} for row in rows)
    counts = {fold: list(fold_of.values()).count(fold) for fold in range(1, args.folds + 1)}
    print(f"{args.list}: " + ", ".join(f"fold {fold}: {count}" for fold, count in counts.items()))


if __name__ == "__main__":
    main()
