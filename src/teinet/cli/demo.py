"""`teinet demo`: shows a pretrained model, then trains and tests TSN and TEINet on drawn clips, and writes a page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add("--output", default="teinet-demo", help="folder to work in (default: teinet-demo); called again, it goes on")
    add("--quick", action="store_true", help="few clips and two epochs: shows that all works, learns nothing")
    add("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the demo and print the two networks side by side; returns 0, or 1 where they do not show what they should."""
    from rich.console import Console

    from teinet.demo import run_demo
    from teinet.pages.demo_page import next_steps, write_page
    from teinet.utils.tables import plain_table
    from teinet.utils.text import duration, percent

    console = Console(stderr=args.json, highlight=False)
    result = run_demo(Path(args.output), quick=args.quick, console=console)
    page = write_page(result)
    if args.json:
        print(json.dumps({name: scores.metrics() for name, scores in result.scores.items()}, indent=2))
        return 0 if args.quick or result.holds else 1
    table = plain_table("network", "top-1", "top-5", "mean class accuracy", text=["network"])
    for name, scores in result.scores.items():
        table.add_row(name, *map(percent, (scores.top1, scores.top5, scores.mean_class_accuracy)))
    console.print(table)
    if args.quick:
        console.print("The quick form shows that everything runs; in two epochs neither network learns.")
    else:
        verdict = "as expected" if result.holds else "NOT as expected"
        console.print(f"{verdict}: TSN, blind to order, at most 50 %; TEINet at least 70 %")
    console.print(f"\n[bold]6  A held-out clip[/bold]: {result.clip} ({result.label})", soft_wrap=True)
    console.print("  the first that TEINet recognizes, to explain; the table is the measurement", style="dim")
    for name, prediction in result.predictions.items():
        answers = ", ".join(f"{label} {percent(score)}" for label, score in prediction.labels)
        console.print(f"  {name:<7} {answers}", soft_wrap=True)
    took = duration(sum(result.seconds.values()))
    console.print(f"\nThe page: {page.absolute().as_uri()}   ({took} in all)", soft_wrap=True)
    console.print(f"\nNext:\n{next_steps(result)}", soft_wrap=True)
    return 0 if args.quick or result.holds else 1
