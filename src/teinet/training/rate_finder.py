"""Find a learning rate: a few steps at rising rates, and the one at which the loss falls fastest."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from teinet.errors import ConfigError, RunError
from teinet.evaluation.hardware import quiet
from teinet.training.module import TrainingModule
from teinet.training.optim import build_optimizer, parameter_groups
from teinet.training.recipe import Recipe
from teinet.training.setup import prepare
from teinet.training.step_memory import refuse_too_large

STEPS = 60
LOWEST, HIGHEST = 1e-5, 1.0  # rates of the first and the last step
_SMOOTH = 0.8  # of the loss's moving average
_DIVERGED = 4.0  # times the smallest loss so far


class RatesTried(NamedTuple):
    """The loss at each rate, and the rate to take.

    Args:
        rates, losses: of the steps, the loss as a moving average over them.
        place: the step in which the loss falls fastest.
        rate: of this step, as `optim.lr` of this recipe (per 64 clips, if it is scaled).
    """

    rates: list[float]
    losses: list[float]
    place: int
    rate: float


class _Rising(TrainingModule):
    """Trains at a rate that rises by the same factor in each step."""

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.model, self.model.head, self.recipe.optim, 1.0)
        self.shares = [group["lr"] for group in groups]
        return build_optimizer(groups, self.recipe.optim)

    def _stop_together(self, problem: str | None) -> None:
        """End the search at a loss that is not a number, which is no error here."""
        if problem is not None:
            self.trainer.should_stop = True


class _Rates(Callback):
    def __init__(self, rates: list[float]):
        self.rates, self.losses = rates, []
        self._average = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        rate = self.rates[min(len(self.losses), len(self.rates) - 1)]
        for group, share in zip(trainer.optimizers[0].param_groups, pl_module.shares):
            group["lr"] = rate * share

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.problem:
            raise RunError(pl_module.problem)
        if not math.isfinite(float(outputs["loss"])):
            trainer.should_stop = True
            return
        self._average = _SMOOTH * self._average + (1 - _SMOOTH) * float(outputs["loss"])
        self.losses.append(self._average / (1 - _SMOOTH ** (len(self.losses) + 1)))
        if len(self.losses) >= len(self.rates) or self.losses[-1] > _DIVERGED * min(self.losses):
            trainer.should_stop = True


@quiet()
def find_rate(recipe: Recipe) -> RatesTried:
    """Train a copy of a run's network for up to 60 steps at rates from 1e-5 to 1; nothing of it is kept.

    Source: Smith, https://arxiv.org/abs/1506.01186, by the steepest fall of the smoothed loss.

    Raises:
        ConfigError: the loss never falls.
        TeinetError: see `train`.
    """
    parts = prepare(replace(recipe.with_absolute_paths(), run=replace(recipe.run, probe=False, devices=1)))
    assert parts is not None
    refuse_too_large(parts)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    tried = _Rates(rates)
    epochs = math.ceil(STEPS / max(parts.steps_per_epoch, 1))
    with tempfile.TemporaryDirectory() as folder:
        module = _Rising(
            parts.model, parts.recipe, steps_per_epoch=parts.steps_per_epoch, train_clips=parts.splits["train"],
            val_clips=None, unreadable_csv=Path(folder) / "unreadable.csv", teachers=parts.teachers,
        )  # fmt: skip
        trainer = L.Trainer(
            **replace(parts.hardware, devices=1, nodes=1).trainer_arguments(),
            max_epochs=epochs,
            max_steps=STEPS,
            limit_val_batches=0,
            gradient_clip_val=parts.recipe.optim.clip_grad_norm or None,
            logger=False,
            callbacks=[tried],
        )
        with parts.data.watch.guard():
            trainer.fit(module, datamodule=parts.data)
    losses = tried.losses
    if len(losses) < 5 or min(losses[1:]) >= losses[0]:
        raise ConfigError("the loss does not fall at any rate from 1e-5 to 1; look at the labels, or train for longer")
    last = int(np.argmin(losses))  # beyond the smallest loss the rate is too high
    slopes = np.gradient(losses[: max(last, 3) + 1], np.log(rates[: max(last, 3) + 1]))
    place, config = int(np.argmin(slopes)), parts.recipe.optim
    scale = config.batch_size / 64 if config.scale_lr else 1.0
    return RatesTried(rates[: len(losses)], losses, place, float(f"{rates[place] / scale:.2g}"))
