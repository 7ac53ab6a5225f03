"""Runs some finished cells again, compares them with what is committed: make results-check

That is the smallest part, whose clips are drawn here: TSN and MEM+TIM of motion_1a, seed 0, some minutes. Any other
part, with its data: python -m benchmarks.evidence.check STUDY ... --data-root DATA --backbone-weights FILE

For each cell: top-1 then and now, the clips that were right and are wrong now, and the other way round. Another machine
or another version of torch rounds otherwise, and a network from scratch then learns as otherwise as with another seed
(rounding.py shows it). So the two numbers may differ by what chance does among the clips that changed sides in 99 of
100 cases (McNemar's test), or by what two seeds do (their spread among the committed cells), whichever is more; exit
code 1 where they differ by more. What is committed stays as it is. Other clips than then, or other weights to begin
from, are an error.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.study.__main__ import add_where, where
from benchmarks.study.plan import Cell, Study
from benchmarks.study.results import read_result
from benchmarks.study.runner import run_cells
from teinet.data.motion_pairs import MotionPairs, draw_with_progress

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"
STUDY, CELLS = "motion_pairs.yaml#motion_1a", ("TSN/*/0", "MEM+TIM/*/0")  # where none is named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY")
    add_where(parser)
    parser.set_defaults(results=str(RESULTS))
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="PATTERN", help="such as 'TIM/*/0' (default: all)")
    parser.add_argument("--most", type=int, default=2, help="cells of each study at most (default: 2)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not args.studies:
        args.studies, args.cells = [f"{HERE}/{STUDY}"], list(CELLS)
        args.data_root = str(draw_frozen(Path("runs") / "results-check").parent)
    studies = [study for address in args.studies for study in Study.load_all(address)]
    chosen = choose(studies, args.cells, args.results, most=args.most)
    with tempfile.TemporaryDirectory() as folder:
        here = replace(where(args), results=f"{folder}/results", work=f"{folder}/work")
        failed = run_cells(chosen, here, jobs=args.jobs, console=Console(stderr=True))
        rows = [compare(study, cell, args.results, here.results) for study, cell in chosen if cell not in dict(failed)]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        table = Table()
        for head in ("cell", "top-1 then", "now", "clips lost", "gained", "may differ by", "holds"):
            table.add_column(head)
        for row in rows:
            shares = (f"{100 * row[key]:.1f} %" for key in ("then", "now"))
            counts = (str(row["lost"]), str(row["gained"]), f"{row['allowed']:.0f}")
            table.add_row(f"{row['study']} {row['cell']}", *shares, *counts, "yes" if row["holds"] else "NO")
        Console().print(table)
    return int(bool(failed) or not all(row["holds"] for row in rows))


def draw_frozen(folder: Path) -> Path:
    """Draw motion_pairs as hard as difficulty.py set it."""
    found = json.loads((RESULTS / "motion_difficulty.json").read_text())
    settings = found["tried"][found["chosen"]]["settings"]
    return draw_with_progress(folder / "motion_pairs", MotionPairs(**settings), Console(stderr=True))


def choose(studies: list[Study], patterns: list[str], results: str, *, most: int) -> list[tuple[Study, Cell]]:
    """The finished cells of each study that a pattern names, `most` at most.

    Raises:
        SystemExit: a pattern names none in any study.
    """
    done = [(study, cell) for study in studies for cell in study.cells() if read_result(study, cell, results)]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(str(cell), pattern) for _, cell in done):
            raise SystemExit(f"no finished cell called {pattern} in {results}")
    named = [(s, c) for s, c in done if any(fnmatch.fnmatchcase(str(c), pattern) for pattern in patterns)]
    return [pair for study in studies for pair in [p for p in named if p[0] is study][:most]]


def compare(study: Study, cell: Cell, committed: str, again: str) -> dict[str, Any]:
    """One cell then and now.

    Raises:
        SystemExit: they are not of the same clips, or began from other weights.
    """
    old, new = read_result(study, cell, committed), read_result(study, cell, again)
    for what in ("data", "backbone_weights", "clips", "labels"):
        if old.get(what) != new.get(what):
            raise SystemExit(f"{study.name} {cell}: {what} are not those of {committed}")
    labels = old["labels"]
    then, now = ([said == true for said, true in zip(r["test"]["predicted"], labels, strict=True)] for r in (old, new))
    lost = sum(a and not b for a, b in zip(then, now))
    gained = sum(b and not a for a, b in zip(then, now))
    seeds = [read_result(study, replace(cell, seed=seed), committed) for seed in study.seeds]
    top1 = [result["test"]["top1"] for result in seeds if result]
    spread = math.sqrt(2) * stdev(top1) * len(labels) if len(top1) > 1 else 0.0
    allowed = 2.576 * max(math.sqrt(lost + gained), spread)
    return {
        "study": study.name,
        "cell": str(cell),
        "then": old["test"]["top1"],
        "now": new["test"]["top1"],
        "lost": lost,
        "gained": gained,
        "allowed": allowed,
        "holds": abs(lost - gained) <= allowed,
    }


if __name__ == "__main__":
    raise SystemExit(main())
