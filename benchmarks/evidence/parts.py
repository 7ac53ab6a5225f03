"""Top-1 of a test by the part of a joined list (see join.py): python benchmarks/evidence/parts.py TEST FOLDER [NAME]

TEST is a test's folder (RUN/test-1x1), FOLDER the one that the joined list lies in. A card's figures come from it: with
the recogniser's NAME they are kept in results/weights, beside the test's own.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

from teinet.utils.machine import machine

RESULTS = Path(__file__).parents[1] / "results" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?")
    args = parser.parse_args()
    right: dict[str, list[bool]] = defaultdict(list)
    with (args.test / "clips.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            part = Path(row["path"]).absolute().relative_to(args.folder.absolute()).parts[0]
            right[part].append(row["rank"] == "1")  # unreadable clips have none, and count as wrong
    for part, rows in right.items():
        print(f"{part}: {100 * sum(rows) / len(rows):.1f} % of {len(rows)} clips")
    if args.name:
        test = json.loads((args.test / "metrics.json").read_text(encoding="utf-8"))
        test = {key: value for key, value in test.items() if key not in ("weights", "command")}  # where the run lay
        parts = {part: {"right": sum(rows), "clips": len(rows)} for part, rows in right.items()}
        found = {"machine": machine(), "parts": parts, "test": test}
        (RESULTS / f"{args.name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
