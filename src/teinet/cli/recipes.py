"""`teinet recipes`: the recipes that come with the library, with the figures that the paper printed for them."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "filter", nargs="?", default="*", help="with wildcards, such as 'something_v1/*' (default: all)"
    )
    parser.add_argument("--table", default=None, help="only those of one of the paper's tables: 1a, 1b, 1c, 2 to 6")
    parser.add_argument("--json", action="store_true", help="print names, settings and figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the recipes that match; returns 0, or 1 when none does."""
    from teinet.training.recipe_files import list_recipes

    found = [r for r in list_recipes() if fnmatch.fnmatch(r.name, args.filter)]
    if args.table:
        found = [r for r in found if any(str(p["table"]) == args.table for p in r.settings.get("published", ()))]
    if args.json:
        print(json.dumps({r.name: r.settings for r in found}, indent=2, ensure_ascii=False))
    elif found:
        _print(found, args.table)
    if not found:
        print("teinet recipes: none matches; `teinet recipes` lists all", file=sys.stderr)
    return 0 if found else 1


def _print(found: list[Any], only: str | None) -> None:
    """A line for each recipe, and for each row of a table: lines fit a narrow terminal where a table would not."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    rows = [p for r in found for p in r.settings.get("published", ())]
    width = max((len(p["row"]) for p in rows), default=0)
    if rows:
        console.print(f"{'':11}{'':{width}}  {'views':<8}  top-1  top-5   test  GFLOPs", style="dim")
    for recipe in found:
        console.print(recipe.name, style="bold", markup=False)
        for p in recipe.settings.get("published", ()):
            if only in (None, str(p["table"])):
                views = "ensemble" if p.get("ensemble") else p.get("views", "1x1")
                figures = (p.get(key) for key in ("top1", "top5", "test", "gflops"))
                cells = "  ".join(f"{'' if f is None else f'{f:.1f}':>5}" for f in figures)
                line = f"  table {p['table']:<3}{p['row']:<{width}}  {views:<8}  {cells}"
                console.print(line.rstrip(), markup=False)
    example = found[0].name
    console.print(f"\nteinet train {example} --data FOLDER             trains, tests, prints measured beside printed")
    console.print(f"teinet train {example} --data FOLDER --dry-run   says first what that would be")
