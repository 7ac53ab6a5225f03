"""From a recipe to its row: train, test by the row's views; once, or for each official division of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console

from teinet.data.views import Views
from teinet.errors import ConfigError, Interrupted
from teinet.evaluation.hardware import Hardware
from teinet.evaluation.progress import TestProgress
from teinet.evaluation.published import Measured
from teinet.evaluation.session import Plan, Tested, measured, test
from teinet.training.folder import is_run_of
from teinet.training.parts import precision
from teinet.training.recipe import Recipe
from teinet.training.run import train
from teinet.training.state import STATE


@dataclass(frozen=True)
class Trained:
    """A trained run's folder, and its tests."""

    folder: Path
    tests: list[Tested]


def train_and_test(recipe: Recipe, *, resume: Path | None = None, console: Console, title: str = "") -> Trained:
    """Train, or go on, then test by the recipe's views; scores that lie on disk already are not computed again.

    Raises:
        TeinetError: see `train` and `test`.
    """
    folder = train(recipe, resume=resume, console=console, title=title)
    hardware = Hardware(accelerator=recipe.run.accelerator, devices=recipe.run.devices, precision=precision(recipe))
    tests = []
    for views in recipe.tests():
        # a pass of the network fits in memory where a training step did
        plan = Plan(
            views=Views.parse(views),
            batch_size=recipe.optim.batch_size,
            workers=recipe.run.workers,
            read_timeout=recipe.run.read_timeout,
            hardware=hardware,
        )
        bar = TestProgress(Console(stderr=True), title=f"{title}testing {views}")
        tests.append(test(folder, plan, reuse=True, callbacks=[bar]))
    return Trained(folder, tests)


def train_divisions(recipe: Recipe, *, console: Console) -> list[Trained]:
    """Train and test once for each of `run.divisions`; what is there already is kept, what was stopped goes on.

    Raises:
        ConfigError: a folder that holds another run.
        TeinetError: see `train` and `test`.
    """
    base = recipe.run.name or default_name(recipe)
    done = []
    for division in recipe.run.divisions:
        one = replace(
            recipe,
            data=replace(recipe.data, division=division),
            run=replace(recipe.run, name=f"{base}-division{division}", divisions=[]),
        )
        folder = Path(one.run.output) / str(one.run.name)
        resume = folder if (folder / STATE).is_file() else None
        if resume and not is_run_of(folder, one):
            raise ConfigError(f"{folder} holds a run of another recipe; take another run.name, or remove it")
        console.print(f"[bold]division {division}[/bold]", highlight=False)
        try:
            done.append(train_and_test(one, resume=resume, console=console, title=f"division {division}  "))
        except Interrupted:
            raise Interrupted(f"stopped in division {division}; nothing is lost, the same command goes on") from None
    return done


def default_name(recipe: Recipe) -> str:
    """What a run is called that nobody named: its row, or its network."""
    return recipe.row.replace("/", "-") if recipe.row else recipe.model.name


def mean_over(tests: Sequence[Tested]) -> tuple[Measured, float]:
    """The mean of tests over several divisions, and the standard deviation of their top-1 (nan for a single one)."""
    each = [measured(t.scores) for t in tests]
    top5 = [m.top5 for m in each if m.top5 is not None]
    top1 = [m.top1 for m in each]
    mean = replace(each[0], top1=fmean(top1), top5=fmean(top5) if len(top5) == len(each) else None)
    return mean, stdev(top1) if len(top1) > 1 else math.nan
