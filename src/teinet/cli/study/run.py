"""`teinet study run`: all cells that are not done."""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
from pathlib import Path

from teinet.cli.study.options import add_where, where
from teinet.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="YAML files, in the order of work")
    add_where(parser)
    parser.add_argument("--cells", default=None, metavar="PATTERN", help="only these, such as 'TIM/*/0'")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each a process (default: 1)")
    parser.add_argument("--list", action="store_true", help="only list the cells, and which are done")
    parser.add_argument("--commit", action="store_true", help="commit each result to git as soon as it is written")
    parser.add_argument("--json", action="store_true", help="of --list: print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Run and print; returns 0, or 1 when some cell failed.

    Raises:
        TeinetError: a study or setting that does not fit; or `Interrupted`, with what was done kept.
    """
    from rich.console import Console

    from teinet.study.plan import Study
    from teinet.study.runner import pending, run_cells

    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; it must be at least 1")
    if args.json and not args.list:
        raise ConfigError("--json belongs to --list; what was measured is printed by teinet study table --json")
    studies = [Study.load(path) for path in args.studies]
    chosen = [
        (study, cell)
        for study in studies
        for cell in study.cells()
        if args.cells is None or fnmatch.fnmatchcase(str(cell), args.cells)
    ]
    if not chosen:
        raise ConfigError(f"no cell is called {args.cells!r}; --list names them")
    open_cells = {(study.name, cell) for study, cell in pending(studies, args.results)}
    if args.list:
        return _list(chosen, open_cells, as_json=args.json)
    todo = [(study, cell) for study, cell in chosen if (study.name, cell) in open_cells]
    console = Console()
    console.print(f"{len(todo)} of {len(chosen)} cells to run, {args.jobs} at a time", highlight=False)
    failed = run_cells(todo, where(args), jobs=args.jobs, console=console, done=_commit if args.commit else None)
    return int(bool(failed))


def _list(chosen: list, open_cells: set, *, as_json: bool) -> int:
    from rich.console import Console

    listed = [(study.name, str(cell), (study.name, cell) not in open_cells) for study, cell in chosen]
    if as_json:
        print(json.dumps([{"study": s, "cell": c, "done": d} for s, c, d in listed], indent=2))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for name, cell, is_done in listed:
        console.print(f"{'done' if is_done else '    '}  {name}  {cell}", markup=False)
    console.print(f"{sum(d for *_, d in listed)} of {len(listed)} done")
    return 0


def _commit(path: Path) -> None:
    """Commit this file alone, whatever else is changed or staged; where that is done already, nothing."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words, "--", path.name], cwd=path.parent, capture_output=True, text=True)

    done = git("add")
    if not done.returncode and git("diff", "--cached", "--quiet").returncode:
        done = git("commit", "--quiet", "-m", f"Result: {path.parent.name}, {path.stem}")
    if done.returncode:  # the result is there; it can be committed by hand
        print(f"{' '.join(done.args[:2])}: {done.stderr.strip()}")
