"""Forecast of a run: data, steps, learning rate, and time and memory measured in a few real steps."""

from __future__ import annotations

import math
import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch

from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.hardware import quiet
from teinet.models.classifier import multiply_adds, parameters
from teinet.training.callbacks import EpochLog
from teinet.training.recipe import Recipe
from teinet.training.setup import Parts, prepare
from teinet.training.step_memory import refuse_too_large

STEPS = 6
WARM_UP = 2  # steps that are not counted: the first ones set up threads, kernels and caches


class Trial(NamedTuple):
    """Time and memory of a few steps."""

    steps: int  # that were counted
    step_seconds: float  # median of a step's computing
    wait_seconds: float  # median of the wait for its clips; a longer run may wait less, once all workers are at work
    memory: int  # peak bytes: of the GPU, or of this process and its largest worker
    on_gpu: bool  # which of the two


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Forecast of a run.

    Args:
        gmacs: multiply-adds of one training clip, in billions.
        tests: GMACs of a view and number of views, by the views to test by once trained.
    """

    parts: Parts
    parameters: int
    gmacs: float
    tests: dict[str, tuple[float, int]]

    @cached_property
    def trial(self) -> Trial:
        """A few measured steps, run when first asked for."""
        return _try(self.parts)

    @property
    def steps(self) -> int:
        """The number of optimizer steps in the whole run."""
        return self.parts.steps_per_epoch * self.parts.recipe.optim.epochs

    @property
    def seconds(self) -> float:
        """The time of the whole run with tests; a view is estimated at a third of a training clip's step, by GMACs."""
        config, splits = self.parts.recipe.optim, self.parts.splits
        compute, wait = max(self.trial.step_seconds, 1e-9), self.trial.wait_seconds
        val = splits.get("val", ())
        batches = math.ceil(len(val) / config.batch_size) * (config.epochs // self.parts.recipe.run.validate_every)
        views = sum(n * gmacs / self.gmacs for gmacs, n in self.tests.values()) * len(splits.get("test", val))
        tests = views * compute / 3 / config.batch_size
        return (compute + wait) * config.accumulate * self.steps + batches * (compute / 3 + wait) + tests

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        recipe, splits = self.parts.recipe, self.parts.splits
        return {
            "clips": {split: len(clips) for split, clips in splits.items()},
            "classes": len(splits["train"].class_names),
            "format": splits.source.format,
            "notes": splits.source.notes,
            "missing": len(splits.source.dropped),
            "steps_per_epoch": self.parts.steps_per_epoch,
            "steps": self.steps,
            "learning_rate": recipe.optim.learning_rate(self.parts.hardware.processes),
            "precision": self.parts.hardware.precision,
            "workers": self.parts.data.workers,
            "parameters": self.parameters,
            "gmacs": round(self.gmacs, 4),
            "tests": {v: {"gmacs": round(g, 4), "views": n} for v, (g, n) in self.tests.items()},
            "trial": self.trial._asdict(),
            "seconds": round(self.seconds, 1),
        }


def forecast(recipe: Recipe) -> Forecast:
    """Read the clips and build the network, without pretrained weights and files; raises as `train` does."""
    recipe = recipe.with_absolute_paths()
    # random weights take the same time and memory as pretrained ones
    untrained = replace(recipe.model, pretrained=False)
    parts = prepare(replace(recipe, model=untrained, run=replace(recipe.run, probe=False)))
    assert parts is not None
    parts = replace(parts, recipe=recipe)
    tests = {}
    for text in recipe.tests():
        views = Views.parse(text)
        shape = parts.preprocessing.view_shape(bool(views.full_resolution))
        tests[text] = (multiply_adds(parts.model, shape) / 1e9, len(views))
    return Forecast(
        parts=parts,
        parameters=parameters(parts.model),
        gmacs=multiply_adds(parts.model, parts.preprocessing.shape) / 1e9,
        tests=tests,
    )


class _Steps(EpochLog):
    def __init__(self, folder: Path):
        super().__init__(folder)
        self.sums_so_far = [(0.0, 0.0)]  # of waiting and computing, after each step

    def on_train_batch_end(self, *arguments: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the step is over when the GPU is done
        super().on_train_batch_end(*arguments)
        self.sums_so_far.append((self.sums["wait"], self.sums["compute"]))


@quiet()
def _try(parts: Parts) -> Trial:
    on_gpu = parts.hardware.torch_device().startswith("cuda")
    refuse_too_large(parts)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        steps = _Steps(Path(folder))
        trainer = L.Trainer(
            **replace(parts.hardware, devices=1, nodes=1).trainer_arguments(),
            max_epochs=1,
            limit_train_batches=STEPS + WARM_UP,
            limit_val_batches=0,
            gradient_clip_val=parts.recipe.optim.clip_grad_norm or None,
            logger=False,
            callbacks=[steps],
        )
        with parts.data.watch.guard():
            trainer.fit(parts.module(Path(folder) / "unreadable.csv"), datamodule=parts.data)
    wait, compute = np.diff(steps.sums_so_far, axis=0).T
    if not len(compute):
        raise ConfigError("no step could be tried: none of the clips drawn for it could be read")
    first = min(WARM_UP, len(compute) - 1)
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own = unit * sum(resource.getrusage(who).ru_maxrss for who in processes)
    return Trial(
        steps=len(compute) - first,
        step_seconds=float(np.median(compute[first:])),
        wait_seconds=float(np.median(wait[first:])),
        memory=torch.cuda.max_memory_allocated() if on_gpu else own,
        on_gpu=on_gpu,
    )
