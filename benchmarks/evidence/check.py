"""Runs some finished cells again, compares them with what is committed: make results-check

That is the smallest part, whose clips are drawn here: TSN and MEM+TIM of motion_1a, seed 0, some minutes. Any other
part, with its data: python benchmarks/evidence/check.py STUDY ... --data-root DATA --backbone-weights FILE

For each cell: top-1 then and now, and the share of clips that were named alike. Another machine or another version of
torch rounds otherwise and learns a little otherwise, so what counts is whether the two top-1 lie within two standard
errors of each other; exit code 1 where they do not. What is committed stays as it is.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from teinet.cli.study.options import add_where, where
from teinet.data.motion_pairs import MotionPairs
from teinet.data.motion_pairs.progress import draw_with_progress
from teinet.study.plan import Study
from teinet.study.results import read_result
from teinet.study.runner import run_cells

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"


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
        args.studies, args.cells = [str(HERE / "motion_1a.yaml")], ["TSN/*/0", "MEM+TIM/*/0"]
        args.data_root = str(draw_frozen(Path("runs") / "results-check").parent)
    chosen = []
    for study in map(Study.load, args.studies):
        done = [c for c in study.cells() if any(fnmatch.fnmatchcase(str(c), pattern) for pattern in args.cells)]
        done = [c for c in done if read_result(study, c, args.results)]
        chosen += [(study, cell) for cell in done[: args.most]]
    if not chosen:
        raise SystemExit(f"no finished cell called {' or '.join(args.cells)} in {args.results}")
    with tempfile.TemporaryDirectory() as folder:
        here = replace(where(args), results=f"{folder}/results", work=f"{folder}/work")
        failed = run_cells(chosen, here, jobs=args.jobs, console=Console(stderr=True))
        rows = [compare(study, cell, args.results, here.results) for study, cell in chosen if cell not in dict(failed)]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        table = Table()
        for head in ("cell", "top-1 then", "now", "named alike", "within two errors"):
            table.add_column(head)
        for row in rows:
            shares = (f"{100 * row[key]:.1f} %" for key in ("then", "now", "alike"))
            table.add_row(f"{row['study']} {row['cell']}", *shares, "yes" if row["holds"] else "NO")
        Console().print(table)
    return int(bool(failed) or not all(row["holds"] for row in rows))


def draw_frozen(folder: Path) -> Path:
    """Draw motion_pairs as hard as difficulty.py set it."""
    found = json.loads((RESULTS / "motion_difficulty.json").read_text())
    settings = found["tried"][found["chosen"]]["settings"]
    return draw_with_progress(folder / "motion_pairs", MotionPairs(**settings), Console(stderr=True))


def compare(study: Study, cell, committed: str, again: str) -> dict:
    """One cell then and now."""
    old, new = read_result(study, cell, committed), read_result(study, cell, again)
    then, now = old["test"]["top1"], new["test"]["top1"]
    said = list(zip(old["test"]["predicted"], new["test"]["predicted"]))
    middle = (then + now) / 2
    error = math.sqrt(2 * middle * (1 - middle) / len(said))
    return {
        "study": study.name,
        "cell": str(cell),
        "then": then,
        "now": now,
        "alike": sum(a == b for a, b in said) / len(said),
        "holds": abs(then - now) <= 2 * error + 1e-9,
    }


if __name__ == "__main__":
    raise SystemExit(main())
