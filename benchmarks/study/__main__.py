"""Compare networks over folds and seeds, under one recipe: python -m benchmarks.study run|cell|table ...

STUDY is a YAML file that names recipe, data, networks, folds and seeds, or FILE#NAME for one of several studies in a
file; benchmarks/study/README.md says more.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import logging
import math
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.study.cell import run_cell
from benchmarks.study.figures import save_images
from benchmarks.study.plan import Study
from benchmarks.study.results import Done
from benchmarks.study.runner import Where, pending, run_cells
from benchmarks.study.tables import extras, fill, markdown, marked, provenance, rich_extra, rich_table, rows
from teinet.errors import ConfigError, TeinetError
from teinet.utils.files import replacing
from teinet.utils.memory import keep_freed_memory


def main(argv: list[str] | None = None) -> int:
    """Run one action; returns the exit code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: each cell keeps its state
    keep_freed_memory()
    try:
        args = _parser().parse_args(argv)
        return args.action(args)
    except TeinetError as error:
        print(f"study: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("study: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(required=True)

    run = actions.add_parser("run", help="train and test all cells that are not done, several at once; resumable")
    run.set_defaults(action=_run)
    run.add_argument("studies", nargs="+", metavar="STUDY", help="in the order of work")
    add_where(run)
    run.add_argument("--cells", default=None, metavar="PATTERN", help="only these, such as 'TIM/*/0'")
    run.add_argument("--jobs", type=int, default=1, help="cells at a time, each a process (default: 1)")
    run.add_argument("--list", action="store_true", help="only list the cells, and which are done")

    cell = actions.add_parser("cell", help="train and test one cell")
    cell.set_defaults(action=_cell)
    cell.add_argument("study", help="FILE or FILE#NAME")
    cell.add_argument("cell", help="NETWORK/FOLD/SEED, as run --list names them")
    add_where(cell)

    table = actions.add_parser("table", help="what the finished cells say: means, spreads, paired differences")
    table.set_defaults(action=_table)
    table.add_argument("studies", nargs="+", metavar="STUDY")
    table.add_argument("--results", default="results", help="the folder of results (default: results)")
    table.add_argument("--images", metavar="FOLDER", help="draw NAME.png, -curves.png, -calibration.png there")
    table.add_argument("--folds", action="store_true", help="also each fold, and the lead's interval over folds")
    table.add_argument("--pairs", action="store_true", help="also each pair of classes that are each other backwards")
    table.add_argument("--errors", type=int, default=0, metavar="N", help="also the N clusters with the most errors")
    table.add_argument("--fill", metavar="PAGE", help="write the tables into a page, between its marks")
    table.add_argument("--markdown", action="store_true", help="print the tables as a page wants them")
    table.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare the fields of `Where`."""
    parser.add_argument("--data-root", default=".", help="the folder of the study's data (default: here)")
    parser.add_argument("--work", default="runs/study", help="the folder of runs (default: runs/study)")
    parser.add_argument("--results", default="results", help="the folder of results (default: results)")
    parser.add_argument("--backbone-weights", default=None, metavar="FILE", help="local 2-D weights to start from")
    parser.add_argument("--threads", type=int, default=None, help="of each cell, on a CPU; with --jobs, 1 is best")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes of each cell; 0: its own")


def where(args: argparse.Namespace) -> Where:
    """What they say.

    Raises:
        ConfigError: a number out of range.
    """
    for name, low in (("threads", 1), ("workers", 0)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise ConfigError(f"--{name} is {value}; it must be at least {low}")
    names = ("data_root", "work", "results", "backbone_weights", "threads", "workers")
    return Where(**{name: getattr(args, name) for name in names})


def _run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 when some cell failed."""
    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; it must be at least 1")
    studies = [study for address in args.studies for study in Study.load_all(address)]
    chosen = [
        (study, cell)
        for study in studies
        for cell in study.cells()
        if args.cells is None or fnmatch.fnmatchcase(str(cell), args.cells)
    ]
    if not chosen:
        raise ConfigError(f"no cell is called {args.cells!r}; --list names them")
    open_cells = {(study.name, cell) for study, cell in pending(studies, args.results)}
    todo = [(study, cell) for study, cell in chosen if (study.name, cell) in open_cells]
    if args.list:
        for study, cell in chosen:
            print(f"{'    ' if (study, cell) in todo else 'done'}  {study.name}  {cell}")
        print(f"{len(chosen) - len(todo)} of {len(chosen)} done")
        return 0
    console = Console()
    console.print(f"{len(todo)} of {len(chosen)} cells to run, {args.jobs} at a time", highlight=False)
    return int(bool(run_cells(todo, where(args), jobs=args.jobs, console=console)))


def _cell(args: argparse.Namespace) -> int:
    study = Study.load(args.study)
    print(run_cell(study, study.cell(args.cell), where(args), console=Console()))
    return 0


def _table(args: argparse.Namespace) -> int:
    if args.errors < 0:
        raise ConfigError(f"--errors must be at least 0, got {args.errors}")
    studies = [Done.load(study, args.results) for address in args.studies for study in Study.load_all(address)]
    if args.fill:
        page = Path(args.fill)
        text = fill(page.read_text(encoding="utf-8"), studies)
        with replacing(page) as part:
            part.write_text(text, encoding="utf-8")
    if args.images:
        for done in studies:
            save_images(done, args.images)
    if args.json:
        print(json.dumps({done.study.name: _numbers(done, args) for done in studies}, indent=2))
        return 0
    console = Console(highlight=False)
    for done in studies:
        more = extras(done, errors=args.errors, folds=args.folds, pairs=args.pairs)
        if args.markdown:
            print("\n\n".join([markdown(done), *(marked(heads, lines) for _, heads, lines in more.values())]))
            continue
        console.print(rich_table(done))
        console.print(provenance(done), style="dim", soft_wrap=True)
        for extra in more.values():
            console.print(rich_extra(*extra))
    return 0


def _numbers(done: Done, args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as JSON values."""
    study, found = done.study, {"networks": [row.to_dict() for row in rows(done)]}
    if args.folds:
        found["folds"] = {n: {"top1": done.folds(n), "difference": _lead(done, n)} for n in study.networks}
    if args.pairs:
        found["pairs"] = [
            {"pair": list(pair), "networks": {n: done.reversals(n, pair) for n in study.networks}}
            for pair in study.reversals
        ]
    if args.errors:
        found["errors"] = [cluster.to_dict() for cluster in done.clusters()[: args.errors]]
    return found


def _lead(done: Done, network: str) -> list[float | None] | None:
    lead = done.over_folds(network, done.study.reference) if done.study.reference else None
    return None if lead is None else [None if math.isnan(value) else value for value in lead]


if __name__ == "__main__":
    sys.exit(main())
