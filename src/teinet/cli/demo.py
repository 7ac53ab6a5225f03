"""`teinet demo`: show a pretrained model, then train and test TSN and TEINet on drawn clips, and write a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from teinet.cli.parser import option


@dataclass(kw_only=True)
class DemoOptions:
    """Show a pretrained model, then train and test TSN and TEINet on drawn clips, and write a page.

    teinet demo                  a few minutes on two cores; called again, it continues
    teinet demo --quick          a check that everything runs, in a minute
    """

    output: str = option("folder of the results", default="teinet-demo", metavar="FOLDER")
    quick: bool = option("few clips and two epochs: shows that everything runs, without results", default=False)
    json: bool = option("print the results as JSON", default=False)


def run(args: DemoOptions) -> int:
    """Run the demo and print both networks' results; return 0, or 1 if they are not as expected."""
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
    if args.quick:
        console.print("no result: two epochs on a few clips, too little to learn; `teinet demo` measures both networks")
    else:
        table = plain_table("network", "top-1", "top-5", "mean class accuracy", text=["network"])
        for name, scores in result.scores.items():
            table.add_row(name, *map(percent, (scores.top1, scores.top5, scores.mean_class_accuracy)))
        console.print(table)
        verdict = "as expected" if result.holds else "NOT as expected"
        console.print(f"{verdict}: TSN, which ignores the order of frames, at most 50 % top-1; TEINet at least 70 %")
        console.print(f"\n[bold]6  A held-out clip[/bold]: {result.clip} ({result.label})", soft_wrap=True)
        console.print("  an example, the first clip that TEINet recognizes; the table has the results", style="dim")
        for name, prediction in result.predictions.items():
            answers = ", ".join(f"{label} {percent(score)}" for label, score in prediction.labels)
            console.print(f"  {name:<7} {answers}", soft_wrap=True)
    took = duration(sum(result.seconds.values()))
    console.print(f"\nPage: {page.absolute().as_uri()}   ({took} in total)", soft_wrap=True)
    console.print(f"\nNext steps:\n{next_steps(result)}", soft_wrap=True)
    return 0 if args.quick or result.holds else 1
