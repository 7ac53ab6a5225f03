"""Joins drawings of motion_pairs into one list: python benchmarks/evidence/join.py FOLDER PART PART ...

Writes FOLDER/clips.csv with the clips of FOLDER/PART/clips.csv of each part, in that order.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="+")
    args = parser.parse_args()
    rows = []
    for part in args.parts:
        with (args.folder / part / "clips.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                rows.append(row | {"path": f"{part}/{row['path']}", "source": f"{part} {row['source']}"})
    target = args.folder / "clips.csv"
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "split", "source"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{target}: {len(rows)} clips")


if __name__ == "__main__":
    main()
