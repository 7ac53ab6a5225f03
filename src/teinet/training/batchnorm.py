"""Batch-norm statistics measured afresh with the present weights, instead of averaged over weights that have moved."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from teinet.data.dataset import EpochSampler
from teinet.training.loaders import TrainingData
from teinet.training.module import TrainingModule


class RecomputeBatchNorm(Callback):
    """Before each validation, or at the end of an epoch without one, averages the statistics over `batches` batches.

    On a small data set with a high learning rate the running averages lag behind the weights. Every process sees the
    same batches, so that all keep the same statistics. Frozen batch norms stay as they are.
    """

    def __init__(self, batches: int):
        self.batches = batches
        self._fresh = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._fresh = False

    def on_validation_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._recompute(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if not self._fresh:
            self._recompute(trainer, pl_module)

    def _recompute(self, trainer: L.Trainer, module: TrainingModule) -> None:
        data: TrainingData = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]: set by Lightning
        sampler = EpochSampler(len(data.train), seed=module.recipe.run.seed, epoch=trainer.current_epoch)
        batches = (b.frames.to(module.device) for b in islice(data.loader(sampler), self.batches) if len(b.labels))
        recompute_statistics(module.model, batches, frozen=module.frozen)
        self._fresh = True


@torch.no_grad()
def recompute_statistics(
    model: nn.Module, batches: Iterable[torch.Tensor], *, frozen: Iterable[nn.Module] = ()
) -> None:
    """Set the running statistics of every batch norm that is not `frozen` to their mean over `batches` of clips."""
    kept = {id(m) for m in frozen}
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and id(m) not in kept]
    momenta = [norm.momentum for norm in norms]
    modes = {module: module.training for module in model.modules()}
    model.eval()  # no dropout in between
    for i, clips in enumerate(batches):
        for norm in norms if i == 0 else ():  # only now is it sure that there is something to measure
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.train()
        model(clips)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode
