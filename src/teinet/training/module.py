"""The training step, its loss, and the parameters that are frozen."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from teinet.data.dataset import ClipBatch, seed_of
from teinet.data.lists.rows import ClipList
from teinet.errors import RunError
from teinet.evaluation.evaluate import Scoring
from teinet.evaluation.hardware import gather
from teinet.evaluation.multi_label import USUAL_THRESHOLD
from teinet.evaluation.scores import Scores
from teinet.models.classifier import VideoClassifier
from teinet.models.freeze import backbone_layers, layers_up_to
from teinet.models.gradient_checkpointing import set_gradient_checkpointing
from teinet.training.batch_changes import changed, class_weights, distillation
from teinet.training.optim import build_optimizer, build_schedule, parameter_groups
from teinet.training.recipe import Recipe
from teinet.training.run_dir import DAMAGED

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


log = logging.getLogger("teinet")


class _Teachers(tuple[VideoClassifier, ...]):
    """Networks that are no part of what is trained, saved, averaged or copied."""

    def __deepcopy__(self, memo: dict) -> _Teachers:
        return self


class TrainingModule(Scoring):
    """Trains a `VideoClassifier` by a recipe; validation is a test of `evaluation` with one center view.

    Every step seeds its own random numbers from (seed, epoch, step, process): a resumed run draws the same dropout.
    Clips that cannot be read are listed in `unreadable_csv`. `loss` maps logits (B, C) float32 and labels (B,) to a
    scalar; None takes the cross entropy. `teachers` are those that the network learns from, on the same frames. Where
    clips have several labels, these are (B, C) of 0 and 1, the loss is the binary cross entropy, `metric` is val_map in
    place of val_top1, and `thresholds` are those of the last validation.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self,
        model: VideoClassifier,
        recipe: Recipe,
        *,
        steps_per_epoch: int,
        train_clips: ClipList,
        val_clips: ClipList | None,
        unreadable_csv: Path,
        loss: Loss | None = None,
        teachers: Sequence[VideoClassifier] = (),
    ):
        set_gradient_checkpointing(model, recipe.optim.gradient_checkpointing)
        super().__init__(model, multi_label=train_clips.label_sets is not None)
        self.recipe = recipe
        self.loss = loss or (F.binary_cross_entropy_with_logits if self.multi_label else None)
        weights = None
        if recipe.optim.balance == "loss":
            weights = class_weights(torch.from_numpy(train_clips.labels), model.num_classes)
        self.register_buffer("class_weights", weights, persistent=False)
        self.teachers = _Teachers(teachers)
        self.metric = "val_map" if self.multi_label else "val_top1"
        self.thresholds = [USUAL_THRESHOLD] * len(train_clips.class_names) if self.multi_label else []
        self.steps_per_epoch = steps_per_epoch
        self.clip_paths = train_clips.paths
        self.val_clips = val_clips
        self.unreadable_csv = unreadable_csv
        self.unreadable: dict[str, str] = {}
        self._damaged: set[str] = set()  # files of this process that were named
        self.problem: str | None = None  # why the run must stop after its state is saved; the same in all processes
        self._seen: torch.Tensor | None = None  # a clip of the last step
        self._rate = 0.0  # of the last step
        self.validated = -1  # the epoch that was validated last
        self.frozen = freeze(model, recipe)

    def train(self, mode: bool = True) -> TrainingModule:
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def configure_optimizers(self) -> dict:
        config = self.recipe.optim
        lr = config.learning_rate(self.trainer.world_size)
        groups = parameter_groups(self.model, self.model.head, config, lr)
        optimizer = build_optimizer(groups, config)
        schedule = build_schedule(optimizer, config, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self.train()  # validation restores each module's own mode; frozen norms must stay frozen

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.recipe.run.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        self._name_damaged(batch.damaged)
        self.problem = self._together(self._record(batch.unreadable, batch_idx))
        if not len(batch.labels):  # other processes may have clips: join the step with a gradient of zero
            self._stop_together(None)
            return {"loss": sum(p.sum() for p in self.parameters() if p.requires_grad) * 0.0}
        frames, targets = changed(batch.frames, batch.labels, self.recipe, self.model.num_classes)
        logits = self.model(frames)
        loss = self._loss(logits.float(), targets, frames)
        self._stop_together(None if math.isfinite(loss.item()) else self._bad_loss(loss.item(), batch))
        self._seen = batch.frames[:1]
        self._rate = self._learning_rate()
        facts = {"loss": loss.detach(), "lr": self._rate}
        self.log_dict(facts, on_step=True, on_epoch=False, batch_size=len(batch.labels))
        correct = torch.zeros(()) if self.multi_label else (logits.argmax(1) == batch.labels).sum()
        return {"loss": loss, "correct": correct.detach(), "count": len(batch.labels)}

    def on_fit_start(self) -> None:
        for teacher in self.teachers:
            teacher.to(self.device).eval()

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        if self.loss is not None:
            return self.loss(logits, targets)
        config = self.recipe.optim
        loss = F.cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=config.label_smoothing)
        if not self.teachers:
            return loss
        with torch.no_grad():
            taught = [teacher(frames) for teacher in self.teachers]
        return (1 - config.distill) * loss + config.distill * distillation(logits, taught, config.distill_temperature)

    def on_validation_epoch_end(self) -> None:
        """Log val_top1 (or val_map) and val_loss over all validation clips; an unreadable one counts as wrong."""
        super().on_validation_epoch_end()
        self.validated = self.current_epoch
        assert self.val_clips is not None
        labels = torch.from_numpy(self.val_clips.labels)
        probabilities = torch.zeros(len(labels), self.model.num_classes)
        for score in self.scored:
            if score.probabilities is not None:
                probabilities[score.index] = torch.from_numpy(score.probabilities)
        self._list_validation_clips(self.val_clips)
        if self.global_rank == 0:
            self._name_damaged([(self.val_clips.paths[s.index], s.damage) for s in self.scored if s.damage])
        if self.val_clips.label_sets is not None:
            self._log_several(self.val_clips, self.val_clips.label_sets, probabilities)
            return
        hits = (probabilities.argmax(1) == labels) & (probabilities.sum(1) > 0)
        losses = -probabilities.clamp_min(1e-9).log()[torch.arange(len(labels)), labels]
        self.log_dict({"val_top1": hits.double().mean().float(), "val_loss": losses.mean()})

    def _log_several(self, clips: ClipList, label_sets: np.ndarray, probabilities: torch.Tensor) -> None:
        """Log val_map and val_loss of clips with several labels, and keep their thresholds."""
        scores = Scores(
            paths=clips.paths,
            labels=clips.labels,
            probabilities=probabilities.numpy(),
            class_names=clips.class_names,
            reasons=[score.reason for score in self.scored],
            label_sets=label_sets,
        )
        self.thresholds = scores.best_thresholds()
        safe = probabilities.nan_to_num().clamp(1e-9, 1 - 1e-7)
        loss = F.binary_cross_entropy(safe, torch.from_numpy(label_sets).float())
        self.log_dict({"val_map": float(np.nan_to_num(scores.accuracy)), "val_loss": loss})

    def label_header(self) -> dict[str, Any]:
        """Return the entries of the weights file that say of several labels; none of one."""
        return {"multi_label": True, "thresholds": self.thresholds} if self.multi_label else {}

    def _list_validation_clips(self, clips: ClipList) -> None:
        """List validation clips that could not be read, and warn of them; they count as wrong."""
        bad = [(clips.paths[s.index], s.reason) for s in self.scored if s.probabilities is None]
        new = [(path, reason) for path, reason in bad if path not in self._listed()]
        if new and self.trainer.is_global_zero:
            self._append(new)
            path, reason = new[0]
            log.warning(
                "%d of %d validation clips cannot be read and count as wrong, the first: %s: %s (all in %s)",
                *(len(bad), len(clips), path, reason, self.unreadable_csv),
            )

    def _listed(self) -> dict[str, str]:
        """Return the reasons in unreadable.csv by path, also from other processes and from before a resume."""
        if not self.unreadable_csv.exists():
            return {}
        with self.unreadable_csv.open(newline="", errors="surrogateescape") as file:
            return {row["path"]: row["reason"] for row in csv.DictReader(file)}

    def all_unreadable(self) -> list[str]:
        """Return the training clips that could not be read, in all processes and before a resume."""
        listed = self._listed()
        return [path for path in self.clip_paths if path in listed] if listed else []

    def _append(self, rows: list[tuple[str, str]]) -> None:
        _append_rows(self.unreadable_csv, rows)

    def _name_damaged(self, damaged: Sequence[tuple[str, str]]) -> None:
        """List damaged files that are used all the same in damaged.csv, and warn of the first."""
        new = {path: damage for path, damage in damaged if path not in self._damaged}
        if not new:
            return
        listed = self.unreadable_csv.with_name(DAMAGED)
        if not self._damaged and self.global_rank == 0:
            path, damage = next(iter(new.items()))
            log.warning("%s: %s; used, as are further damaged files, all listed in %s", path, damage, listed)
        self._damaged.update(new)
        _append_rows(listed, list(new.items()))

    def _together(self, problem: str | None) -> str | None:
        """Return the problem of any process in all of them: if one left alone, the others would wait for it."""
        if self.trainer.world_size == 1:
            return problem
        found = torch.tensor(float(problem is not None), device=self.device)
        torch.distributed.all_reduce(found)
        return next(p for p in gather(problem) if p) if found.item() else None

    def _stop_together(self, problem: str | None) -> None:
        if (problem := self._together(problem)) is not None:
            raise RunError(problem)

    @torch.no_grad()
    def refuse_broken_weights(self) -> None:
        """Raise `RunError` in all processes, before anything is saved, if the last step's weights give NaN or inf.

        The loss of a step is that of the weights before it, so it does not show what the last step of an epoch did.
        """
        problem = None
        if self._seen is not None:
            was_training = self.training
            self.eval()
            logits = self.model(self._seen)
            self.train(was_training)
            if not logits.isfinite().all():
                problem = (
                    f"after {self._where(self._rate)}, the network's scores are not finite; the run stops, and what "
                    "was saved before is kept. Lower optim.lr"
                )
        self._stop_together(problem)

    def _learning_rate(self) -> float:
        return self.trainer.optimizers[0].param_groups[0]["lr"]

    def _bad_loss(self, loss: float, batch: ClipBatch) -> str:
        names = ", ".join(str(self.clip_paths[int(i)]) for i in batch.indices.tolist())
        where = self._where(self._learning_rate())
        return f"the loss is {loss} at {where}; the run stops. Lower optim.lr, or look at these clips: {names}"

    def _where(self, rate: float) -> str:
        return f"step {self.global_step} (epoch {self.current_epoch + 1}), learning rate {rate:.3g}"

    def _record(self, unreadable: list[tuple[str, str]], batch_idx: int) -> str | None:
        """List clips that could not be read; return why the run must stop if they are too many."""
        if all(path in self.unreadable for path, _ in unreadable):
            return None
        known = self._listed()
        paths = set(self.clip_paths)  # the list holds validation clips too; they do not count against the limit
        self.unreadable.update((path, reason) for path, reason in known.items() if path in paths)
        if not self.unreadable and self.global_rank == 0:  # the others are counted when the run ends
            path, reason = unreadable[0]
            log.warning(
                "%s: %s; skipped, as are further unreadable clips, all listed in %s", path, reason, self.unreadable_csv
            )
        self.unreadable.update(unreadable)
        self._append([(path, reason) for path, reason in unreadable if path not in known])
        limit = self.recipe.run.max_unreadable
        if len(self.unreadable) <= limit * len(self.clip_paths):
            return None
        path, reason = unreadable[-1]
        drawn = (batch_idx + 1) * self.recipe.optim.batch_size * self.trainer.world_size
        read = len(self.clip_paths) if self.current_epoch else min(len(self.clip_paths), drawn)
        enough = min(1.0, math.ceil(100 * len(self.unreadable) / read) / 100)  # if the others are no worse
        return (
            f"{len(self.unreadable)} of {len(self.clip_paths)} training clips cannot be read, more than the allowed "
            f"{limit:.1%}; the last: {path}: {reason}. All are listed in {self.unreadable_csv}. Fix them and "
            f"continue with `teinet train --resume {self.unreadable_csv.parent}`, or allow more: --run.max_unreadable "
            f"{enough:g}"
        )

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["unreadable"] = dict(self.unreadable)
        checkpoint["thresholds"] = self.thresholds

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.unreadable = dict(checkpoint.get("unreadable", {}))
        self.thresholds = checkpoint.get("thresholds", self.thresholds)


def _append_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    header = [] if path.exists() else [("path", "reason")]
    # surrogateescape: names of files are bytes on Linux and need not be UTF-8
    with path.open("a", newline="", errors="surrogateescape") as file:
        csv.writer(file).writerows(header + rows)


def freeze(model: VideoClassifier, recipe: Recipe) -> list[nn.Module]:
    """Stop the gradients of the layers that a recipe freezes, and return these layers; they stay in eval mode."""
    up_to = recipe.optim.freeze_stages
    early = layers_up_to(model, up_to, size=recipe.clip.shape) if up_to else []
    backbone = backbone_layers(model) if recipe.optim.freeze_backbone else []
    frozen = [*dict.fromkeys([*frozen_norms(model, recipe.optim.freeze_bn), *early, *backbone])]
    for layer in frozen:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(False)
    return frozen


def frozen_norms(model: nn.Module, which: str) -> list[nn.Module]:
    """Return the batch norms that keep their statistics: none, all_but_first (TSN's partial batch norm), or all."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return {"none": [], "all_but_first": norms[1:], "all": norms}[which]
