"""Gives the words of GRID's sentences a fold: python benchmarks/evidence/words.py GRID/words.csv digit

Writes digit.csv beside the list: the rows of that slot of the sentence (verb, colour, preposition, letter, digit,
adverb), with a column `fold`, 0 to 4, that hangs on the file's name alone, so that no sentence is divided.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

FOLDS = 5


def fold_of(path: str) -> int:
    """The fold of a sentence's file."""
    return hashlib.sha256(Path(path).name.encode()).digest()[0] % FOLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", type=Path, help="csv with path, start, end, label and slot")
    parser.add_argument("slot")
    args = parser.parse_args()
    with args.words.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = [row | {"fold": fold_of(row["path"])} for row in reader if row["slot"] == args.slot]
        columns = [*(reader.fieldnames or ()), "fold"]
    if not rows:
        raise SystemExit(f"{args.words} has no word in the slot {args.slot!r}")
    target = args.words.with_name(f"{args.slot}.csv")
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{target}: {len(rows)} words, folds of {[sum(row['fold'] == k for row in rows) for k in range(FOLDS)]}")


if __name__ == "__main__":
    main()
