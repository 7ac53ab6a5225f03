"""Gives the words of GRID's sentences a fold: python benchmarks/evidence/words.py GRID/words.csv digit

Writes digit.csv beside the list: the rows of that slot of the sentence (verb, colour, preposition, letter, digit,
adverb), with a column `fold`, 0 to 4, that hangs on the file's name alone, so that no sentence is divided.

The slot `all` writes sentences.csv: every word of every sentence, annotations of whole files. Fold 0 is its `split`
test, fold 1 val (to choose by), the others train, as benchmarks/recordings.py and `teinet train` want it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

FOLDS = 5


SPLITS = ("test", "val", "train", "train", "train")  # of the folds, where whole sentences are annotated


def fold_of(path: str) -> int:
    """The fold of a sentence's file."""
    return hashlib.sha256(Path(path).name.encode()).digest()[0] % FOLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", type=Path, help="csv with path, start, end, label and slot")
    parser.add_argument("slot", help="or all")
    args = parser.parse_args()
    with args.words.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = [row | {"fold": fold_of(row["path"])} for row in reader if args.slot in ("all", row["slot"])]
        columns = [*(reader.fieldnames or ()), "fold"]
    if not rows:
        raise SystemExit(f"{args.words} has no word in the slot {args.slot!r}")
    target = args.words.with_name(f"{args.slot}.csv")
    if args.slot == "all":
        rows = [row | {"split": SPLITS[row["fold"]]} for row in rows]
        columns, target = [*columns, "split"], args.words.with_name("sentences.csv")
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{target}: {len(rows)} words, folds of {[sum(row['fold'] == k for row in rows) for k in range(FOLDS)]}")


if __name__ == "__main__":
    main()
