"""What a run leaves on disk while it goes: the state to resume from, the last and the best weights, the log."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from teinet.errors import Interrupted, RunError
from teinet.models.header import LAST
from teinet.training.module import TrainingModule
from teinet.utils.files import replacing
from teinet.utils.signals import StopSignal

STATE = "resume.ckpt"
BEST = "best.safetensors"
LOG = "log.csv"


class RunState(Callback):
    """Saves the run's state by steps, by minutes and after every epoch; on Ctrl-C or SIGTERM after the current step.

    Args:
        stop: set by the first signal.
        save_weights: writes a recogniser file, given its path and the scores so far.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stop: StopSignal,
        every_steps: int,
        every_minutes: float,
        save_weights: Callable[[Path, dict], None],
    ):
        self.folder = folder
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self.save_weights = save_weights
        self.best: float | None = None
        self.stop = stop
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self.stop.take()  # the trainer put a handler of its own around ours

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TrainingModule, outputs, batch, batch_idx: int) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if last or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the end of the epoch saves; half an accumulated gradient is no state
        due = self.every_steps and trainer.global_step % self.every_steps == 0
        due = due or time.monotonic() - self._saved_at > 60 * self.every_minutes
        stop = self.stop.is_set()
        if trainer.world_size > 1:  # all processes save together, when the first one says so
            due, stop = trainer.strategy.broadcast((due, stop))
        if due or stop or pl_module.problem:
            self._save(trainer)
        if stop:
            self._leave(trainer)
        if pl_module.problem:
            raise RunError(pl_module.problem)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        pl_module.refuse_broken_weights()
        validated = pl_module.validated == trainer.current_epoch  # until the next one metrics stay
        top1 = trainer.callback_metrics.get("val_top1") if validated else None
        scores = {"epoch": trainer.current_epoch + 1}
        if top1 is not None:
            scores["val_top1"] = round(float(top1), 6)
            better = self.best is None or float(top1) > self.best
            self.best = float(top1) if better else self.best
            if better and trainer.is_global_zero:
                self.save_weights(self.folder / BEST, scores)
        if trainer.is_global_zero:
            self.save_weights(self.folder / LAST, scores)
        self._save(trainer)
        if pl_module.problem:
            raise RunError(pl_module.problem)
        stop = trainer.strategy.broadcast(self.stop.is_set()) if trainer.world_size > 1 else self.stop.is_set()
        if stop and trainer.current_epoch + 1 < trainer.max_epochs:
            self._leave(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        trainer.lightning_module.refuse_broken_weights()
        with replacing(self.folder / STATE) if trainer.is_global_zero else nullcontext(self.folder / STATE) as partial:
            trainer.save_checkpoint(partial)  # all processes take part, the first one writes
        self._saved_at = time.monotonic()

    def _leave(self, trainer: L.Trainer) -> None:
        raise Interrupted(
            f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {trainer.global_step}; "
            f"nothing is lost. Go on with: teinet train --resume {self.folder}"
        )


class EpochLog(Callback):
    """One line an epoch in log.csv: loss, accuracy, rate, seconds of computing and of waiting for data.

    The sums of an unfinished epoch are part of the saved state, so that a resumed run logs whole epochs.
    """

    COLUMNS = ("epoch", "step", "lr", "loss", "top1", "val_top1", "val_loss", "seconds", "data_share")

    def __init__(self, folder: Path):
        self.path = folder / LOG
        self.sums = dict.fromkeys(("loss", "correct", "count", "compute", "wait"), 0.0)
        self._rate = 0.0
        self._mark = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.sums)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums = dict(state_dict)

    def on_train_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._mark = time.monotonic()
        if not trainer.is_global_zero:
            return
        kept = [r for r in read_log(self.path) if int(r["epoch"]) <= trainer.current_epoch]
        self._write(kept)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self.sums = dict.fromkeys(self.sums, 0.0)  # not called where a run resumes inside an epoch

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: TrainingModule, batch, batch_idx: int) -> None:
        now = time.monotonic()
        self.sums["wait"] += now - self._mark
        self._mark = now
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]  # that of this step; afterwards it is the next one's

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TrainingModule, outputs, batch, batch_idx: int) -> None:
        now = time.monotonic()
        self.sums["compute"] += now - self._mark
        self._mark = now
        if "count" in outputs:
            self.sums["loss"] += float(outputs["loss"].detach()) * trainer.accumulate_grad_batches * outputs["count"]
            self.sums["correct"] += float(outputs["correct"])
            self.sums["count"] += outputs["count"]

    def on_validation_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        self._mark = time.monotonic()  # validating is not waiting for data

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: TrainingModule) -> None:
        if trainer.world_size > 1:  # each process saw its share of the clips
            sums = torch.tensor(list(self.sums.values()), device=pl_module.device, dtype=torch.float32)
            torch.distributed.all_reduce(sums)
            self.sums = dict(zip(self.sums, sums.tolist()))
            for name in ("compute", "wait"):
                self.sums[name] /= trainer.world_size
        if trainer.is_global_zero:
            row = self.row(trainer)
            self._write([*read_log(self.path), row])
            if trainer.logger is not None:  # the same curves in TensorBoard, also of runs shorter than its interval
                values = {f"epoch/{k}": float(v) for k, v in row.items() if k not in ("epoch", "step") and v != ""}
                trainer.logger.log_metrics(values, step=trainer.global_step)

    def row(self, trainer: L.Trainer) -> dict[str, Any]:
        """The epoch so far."""
        s = self.sums
        validated = trainer.lightning_module.validated == trainer.current_epoch
        metrics = trainer.callback_metrics if validated else {}
        seconds = s["compute"] + s["wait"]
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": f"{self._rate:.6g}",
            "loss": f"{s['loss'] / max(s['count'], 1):.5f}",
            "top1": f"{s['correct'] / max(s['count'], 1):.5f}",
            "seconds": f"{seconds:.2f}",
            "data_share": f"{s['wait'] / max(seconds, 1e-9):.3f}",
        }
        for name in ("val_top1", "val_loss"):
            row[name] = f"{float(metrics[name]):.5f}" if name in metrics else ""
        return row

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with replacing(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a run's log.csv; none where there is no log yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
