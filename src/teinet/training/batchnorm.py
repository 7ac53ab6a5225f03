"""Batch-norm statistics measured afresh with the weights as they are, instead of averaged over weights that have moved."""

from __future__ import annotations

from itertools import islice

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.optim.swa_utils import update_bn

from teinet.data.dataset import EpochSampler
from teinet.training.module import TrainingModule


class RecomputeBatchNorm(Callback):
    """Before each validation and at the end, averages the statistics over `batches` training batches.

    On a small data set with a high learning rate the running averages lag behind the weights. Every process sees the
    same batches, so that all keep the same statistics.
    """

    def __init__(self, batches: int):
        self.batches = batches

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if not trainer.fit_loop.epoch_loop._should_check_val_epoch():
            self._recompute(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._recompute(trainer, pl_module)

    def _recompute(self, trainer: L.Trainer, module: TrainingModule) -> None:
        data = trainer.datamodule
        sampler = EpochSampler(len(data.train), seed=module.recipe.run.seed, epoch=trainer.current_epoch)
        batches = (b.frames.to(module.device) for b in islice(data.loader(sampler), self.batches) if len(b.labels))
        update_bn(batches, module.model)
