"""What a recipe would do, without doing it: data, steps, rate, and time and memory from a few real steps."""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.hardware import quiet
from teinet.models.cost import multiply_adds, parameters
from teinet.training.recipe import Recipe
from teinet.training.setup import Parts, precision, prepare

STEPS = 6
WARM_UP = 2  # steps that are not counted: the first ones set up threads, kernels and caches


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a few steps took.

    Args:
        steps: how many were counted.
        step_seconds: median of a step's computing.
        wait_seconds: median of the wait for its clips; a longer run may wait less, once all workers are at work.
        memory: peak bytes: of the GPU, or of this process and its largest worker.
        on_gpu: which of the two.
    """

    steps: int
    step_seconds: float
    wait_seconds: float
    memory: int
    on_gpu: bool


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a recipe would do.

    Args:
        parts: network and data.
        steps_per_epoch: optimiser steps.
        parameters: of the network.
        gflops: multiply-adds of one training clip, in billions.
        tests: GFLOPs of a view and number of views, by the views to test by once trained.
        trial: None where it was not asked for.
    """

    parts: Parts
    steps_per_epoch: int
    parameters: int
    gflops: float
    tests: dict[str, tuple[float, int]]
    trial: Trial | None

    @property
    def recipe(self) -> Recipe:
        """The effective recipe."""
        return self.parts.recipe

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.recipe.optim.epochs

    @property
    def seconds(self) -> float | None:
        """Of the whole run, tests included; a view costs a third of what a training clip's step does, by its GFLOPs."""
        if self.trial is None:
            return None
        config = self.recipe.optim
        one = max(self.trial.step_seconds, 1e-9) + self.trial.wait_seconds
        training = one * config.accumulate * self.steps
        val = len(self.parts.splits.get("val", ()))
        batches = math.ceil(val / config.batch_size) * (config.epochs // self.recipe.run.validate_every)
        held = len(self.parts.splits.get("val", self.parts.splits.get("test", ())))
        a_clip = self.trial.step_seconds / 3 / config.batch_size
        tests = sum(held * count * a_clip * gflops / self.gflops for gflops, count in self.tests.values())
        return training + batches * (self.trial.step_seconds / 3 + self.trial.wait_seconds) + tests

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        trial = self.trial
        return {
            "clips": {split: len(clips) for split, clips in self.parts.splits.items()},
            "classes": len(self.parts.splits["train"].class_names),
            "format": self.parts.splits.source.format,
            "notes": self.parts.splits.source.notes,
            "missing": len(self.parts.splits.source.dropped),
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "learning_rate": self.recipe.optim.learning_rate(self.recipe.run.devices),
            "precision": precision(self.recipe),
            "workers": self.parts.data.workers,
            "parameters": self.parameters,
            "gflops": round(self.gflops, 4),
            "tests": {v: {"gflops": round(g, 4), "views": n} for v, (g, n) in self.tests.items()},
            "trial": None if trial is None else vars(trial),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }


def forecast(recipe: Recipe, *, trial: bool = True) -> Forecast:
    """Read the clips, build the network, and try a few steps; nothing is kept.

    Raises:
        TeinetError: as `train` would raise it.
    """
    recipe = recipe.with_absolute_paths()
    parts = prepare(recipe)
    assert parts is not None
    pixels = parts.preprocessing
    tests = {}
    for text in recipe.tests():
        views = Views.parse(text)
        macs = multiply_adds(parts.model, pixels.view_shape(bool(views.full_resolution)))
        tests[text] = (macs / 1e9, len(views))
    return Forecast(
        parts=parts,
        steps_per_epoch=parts.steps_per_epoch,
        parameters=parameters(parts.model),
        gflops=multiply_adds(parts.model, pixels.shape) / 1e9,
        tests=tests,
        trial=_try(parts) if trial else None,
    )


class _Watch(Callback):
    def __init__(self) -> None:
        self.compute: list[float] = []
        self.wait: list[float] = []
        self._mark = 0.0

    def on_train_start(self, *_: Any) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        now = time.perf_counter()
        self.wait.append(now - self._mark)
        self._mark = now

    def on_train_batch_end(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the step is over when the GPU is done
        now = time.perf_counter()
        self.compute.append(now - self._mark)
        self._mark = now


@quiet()
def _try(parts: Parts) -> Trial:
    watch = _Watch()
    on_gpu = parts.hardware.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            **{**parts.hardware.trainer_arguments(), "devices": 1, "strategy": "auto"},
            max_epochs=1,
            limit_train_batches=STEPS + WARM_UP,
            limit_val_batches=0,
            gradient_clip_val=parts.recipe.optim.clip_grad_norm or None,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        with parts.data.watch.guard():
            trainer.fit(parts.module(Path(folder) / "unreadable.csv"), datamodule=parts.data)
    if not watch.compute:
        raise ConfigError("no step could be tried: none of the clips drawn for it could be read")
    first = min(WARM_UP, len(watch.compute) - 1)
    memory = torch.cuda.max_memory_allocated() if on_gpu else _peak_memory()
    return Trial(
        steps=len(watch.compute) - first,
        step_seconds=median(watch.compute[first:]),
        wait_seconds=median(watch.wait[first:]),
        memory=memory,
        on_gpu=on_gpu,
    )


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    return unit * sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
