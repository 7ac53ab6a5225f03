"""Makes and divides the lists of the studies: python -m benchmarks.evidence.lists ACTION ...

fights FOLDER: write FOLDER/clips.csv (path, label, source_video), the clips of the Surveillance Camera Fight Dataset
    that were used, as the results of the study `fights` name them; FOLDER holds the data set's fight/ and noFight/.
folds LIST.csv --group COLUMN: give each clip its fold, 1 to K, as the column `fold`. The folds are the library's own
    (data.folds, data.group, seed 0): groups stay whole, each fold has its share of each class.
words WORDS.csv SLOT: of GRID's words (path, start, end, label, slot) write those of a slot (verb, color, preposition,
    letter, digit, adverb) to SLOT.csv, with a column `fold`, 0 to 4, that follows the file's name alone, so that no
    sentence is divided. The slot `all` writes every word to sentences.csv, annotations of whole files: fold 0 is its
    `split` test, fold 1 val (to choose by), the others train.
drawings FOLDER PART ...: join drawings of motion_pairs, FOLDER/PART/clips.csv, to FOLDER/clips.csv.
parts TEST FOLDER [NAME]: top-1 of a test (RUN/test-1x1) by the parts that FOLDER's list was joined from; with the
    recognizer's NAME they are kept in results/weights, for its card.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks.study.plan import Study
from benchmarks.study.results import read_result
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.utils.machine import machine

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
SPLITS = ("test", "val", "train", "train", "train")  # of GRID's folds, where whole sentences are annotated


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Iterable[dict]) -> None:
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path}: {len(rows)} rows")


def fights(args: argparse.Namespace) -> None:
    study, rows = Study.load(f"{HERE}/fights.yaml#fights"), {}
    for fold in study.folds:
        result = read_result(study, study.cell(f"{study.reference}/{fold}/0"), RESULTS / "evidence")
        for path, label, source in zip(result["clips"], result["labels"], result["clusters"], strict=True):
            rows[path] = {"path": path, "label": result["class_names"][label], "source_video": source}
    if missing := [path for path in rows if not (args.folder / path).is_file()]:
        raise SystemExit(f"{args.folder} has not {missing[0]} ({len(missing)} of {len(rows)} clips are missing)")
    write(args.folder / "clips.csv", (rows[path] for path in sorted(rows)))


def folds(args: argparse.Namespace) -> None:
    fold_of = {}
    for fold in range(args.folds):
        config = DataConfig(path=str(args.list), folds=args.folds, test_fold=fold, group=args.group)
        for path in load_splits(config)["test"].paths:
            fold_of[Path(path).relative_to(args.list.parent.absolute()).as_posix()] = fold + 1
    write(args.list, [{**row, "fold": fold_of[row["path"]]} for row in read(args.list)])
    print(", ".join(f"fold {fold}: {count}" for fold, count in sorted(Counter(fold_of.values()).items())))


def words(args: argparse.Namespace) -> None:
    rows = [
        row | {"fold": hashlib.sha256(Path(row["path"]).name.encode()).digest()[0] % len(SPLITS)}
        for row in read(args.words)
        if args.slot in ("all", row["slot"])
    ]
    if not rows:
        raise SystemExit(f"{args.words} has no word in the slot {args.slot!r}")
    if args.slot == "all":
        rows = [row | {"split": SPLITS[row["fold"]]} for row in rows]
    write(args.words.with_name("sentences.csv" if args.slot == "all" else f"{args.slot}.csv"), rows)


def drawings(args: argparse.Namespace) -> None:
    write(
        args.folder / "clips.csv",
        (
            row | {"path": f"{part}/{row['path']}", "source": f"{part} {row['source']}"}
            for part in args.parts
            for row in read(args.folder / part / "clips.csv")
        ),
    )


def parts(args: argparse.Namespace) -> None:
    right: dict[str, list[bool]] = defaultdict(list)
    for row in read(args.test / "clips.csv"):
        part = Path(row["path"]).absolute().relative_to(args.folder.absolute()).parts[0]
        right[part].append(row["rank"] == "1")  # unreadable clips have none, and count as wrong
    for part, rows in right.items():
        print(f"{part}: {100 * sum(rows) / len(rows):.1f} % of {len(rows)} clips")
    if args.name:
        test = json.loads((args.test / "metrics.json").read_text(encoding="utf-8"))
        test = {key: value for key, value in test.items() if key not in ("weights", "command")}  # where the run lay
        found = {part: {"right": sum(rows), "clips": len(rows)} for part, rows in right.items()}
        said = json.dumps({"machine": machine(), "parts": found, "test": test}, indent=1)
        (RESULTS / "weights" / f"{args.name}.json").write_text(said + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    for action, names in ((fights, ["folder"]), (folds, ["list"]), (words, ["words"]), (drawings, ["folder"])):
        own = actions.add_parser(action.__name__)
        own.set_defaults(action=action)
        own.add_argument(names[0], type=Path)
        if action is folds:
            own.add_argument("--folds", type=int, default=5)
            own.add_argument("--group", required=True)
        elif action is words:
            own.add_argument("slot", help="or all")
        elif action is drawings:
            own.add_argument("parts", nargs="+")
    own = actions.add_parser("parts")
    own.set_defaults(action=parts)
    own.add_argument("test", type=Path)
    own.add_argument("folder", type=Path)
    own.add_argument("name", nargs="?")
    args = parser.parse_args()
    args.action(args)


if __name__ == "__main__":
    main()
