"""`teinet train ... --dry-run`: the effective recipe, the data found, steps, rate, memory and time."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.training.recipe import Recipe
    from teinet.training.trial import Forecast


def print_plan(recipe: Recipe, *, as_json: bool) -> int:
    """Find out and print; returns 0."""
    from rich.console import Console

    from teinet.training.trial import forecast

    found = forecast(recipe)
    if as_json:
        print(json.dumps({"recipe": asdict(found.recipe), **found.to_dict()}, indent=2, ensure_ascii=False))
        return 0
    _print(Console(highlight=False, soft_wrap=True), found)
    return 0


def _print(console: Console, found: Forecast) -> None:
    from teinet.evaluation.published import cost
    from teinet.training.setup import precision
    from teinet.training.trainer import rate_in_words
    from teinet.utils.text import duration

    recipe, parts = found.recipe, found.parts
    console.print("[bold]recipe[/bold]")
    settings = {key: value for key, value in asdict(recipe).items() if key != "published"}
    console.print(yaml.safe_dump(settings, sort_keys=False), markup=False)
    source = parts.splits.source
    rows = [
        ("clips", ", ".join(f"{len(c)} {s}" for s, c in parts.splits.items()) + f"; format {source.format}"),
        ("classes", str(len(parts.splits["train"].class_names))),
        *[("note", note) for note in source.notes],
        ("network", f"{recipe.model.name}, {found.parameters:,} parameters, {found.gflops:.2f} GFLOPs a clip"),
        ("steps", f"{found.steps_per_epoch} an epoch, {found.steps} in all ({recipe.optim.epochs} epochs)"),
        ("learning rate", rate_in_words(recipe)),
        ("precision", f"{precision(recipe)}, {parts.data.workers} workers"),
    ]
    for views, (gflops, count) in found.tests.items():
        rows.append((f"test {views}", f"{cost(gflops, count)} GFLOPs x views"))
    for p in recipe.published:
        figures = [f"top-1 {p.top1}"] * (p.top1 is not None) + [f"top-5 {p.top5}"] * (p.top5 is not None)
        figures += [f"test {p.test}"] * (p.test is not None)
        rows.append((f"table {p.table}", f"{p.row}: {', '.join(figures)}"))
    if (trial := found.trial) is not None and found.seconds is not None:
        where = "of the GPU" if trial.on_gpu else "of this process and its largest worker"
        times = max(1, len(recipe.run.divisions))
        each = f" for each of {times} divisions" if times > 1 else ""
        rows += [
            (
                "a step",
                f"{trial.step_seconds:.2f} s computing, {trial.wait_seconds:.2f} s waiting for clips "
                f"(medians of {trial.steps} steps tried)",
            ),
            ("memory", f"{trial.memory / 2**30:.1f} GiB at its peak, {where}"),
            ("time", f"about {duration(found.seconds)}{each}, by these steps"),
        ]
    console.print("[bold]plan[/bold]")
    for name, text in rows:
        console.print(f"{name:<14} {text}", markup=False)
