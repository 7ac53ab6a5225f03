"""`teinet recipes`: the recipes that come with the library, with their published results."""

from __future__ import annotations

import fnmatch
import json
import sys
from dataclasses import dataclass
from typing import Any

from teinet.cli.parser import option, positional


@dataclass(kw_only=True)
class RecipesOptions:
    """List the recipes that come with the library, with their published results.

    teinet recipes                          all
    teinet recipes 'something_v1/*'         of one data set
    teinet recipes --table 1a               of one of the paper's tables
    """

    filter: str = positional("a name with wildcards", default="*")
    table: str | None = option("only those of one of the paper's tables: 1a, 1b, 1c, 2 to 6")
    json: bool = option("print names, settings and figures as JSON", default=False)


def run(args: RecipesOptions) -> int:
    """Print the recipes that match; return 0, or 1 when none does."""
    from teinet.training.recipe_files import list_recipes

    found = {name: settings for name, settings in list_recipes().items() if fnmatch.fnmatch(name, args.filter)}
    if args.table:
        found = {name: s for name, s in found.items() if any(str(p["table"]) == args.table for p in _rows(s))}
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _print(found, args.table)
    if not found:
        print("teinet recipes: no recipe matches; `teinet recipes` lists all", file=sys.stderr)
    return 0 if found else 1


def _rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    return settings.get("published", [])


def _print(found: dict[str, dict[str, Any]], only: str | None) -> None:
    """Print a line for each recipe and each of its published rows, which fit a narrow terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    width = max((len(p["row"]) for settings in found.values() for p in _rows(settings)), default=0)
    if width:
        console.print(f"{'':11}{'':{width}}  {'views':<8}  top-1  top-5   test  GMACs", style="dim")
    for name, settings in found.items():
        console.print(name, style="bold", markup=False)
        if not _rows(settings):
            for section, values in settings.items():
                if isinstance(values, dict):
                    said = "  ".join(f"{key} {value}" for key, value in values.items())
                    console.print(f"  {section:<7}{said}", markup=False)
        for p in _rows(settings):
            if only in (None, str(p["table"])):
                views = "ensemble" if p.get("ensemble") else p.get("views", "1x1")
                figures = (p.get(key) for key in ("top1", "top5", "test", "gmacs"))
                cells = "  ".join(f"{'' if f is None else f'{f:.1f}':>5}" for f in figures)
                console.print(f"  table {p['table']:<3}{p['row']:<{width}}  {views:<8}  {cells}".rstrip(), markup=False)
    train = f"teinet train {next(iter(found))} FOLDER"
    console.print(f"\n{train}             train and test" + (", next to the published results" if width else ""))
    console.print(f"{train} --dry-run   only print what would be done")
