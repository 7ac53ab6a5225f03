"""The run's learning curves as a picture, once it ends or is stopped."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback

from teinet.errors import TeinetError
from teinet.evaluation.curves import save_curves
from teinet.training.state import LOG, read_log
from teinet.utils.files import replacing

CURVES = "curves.png"

log = logging.getLogger("teinet")


class CurvesPicture(Callback):
    """Draws log.csv into curves.png; a run that never ended an epoch has nothing to draw."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._draw(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, TeinetError):  # stopped in good order; a second Ctrl-C wants no picture
            self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> None:
        rows = read_log(self.folder / LOG) if trainer.is_global_zero else []
        if not rows:
            return
        try:
            with replacing(self.folder / CURVES) as part:
                save_curves({self.folder.name: rows}, part, title=self.folder.name)
        except OSError as error:  # what was learnt is kept, and must not fail for want of a picture
            log.warning("%s cannot be written (%s); teinet report draws it anew", self.folder / CURVES, error.strerror)
