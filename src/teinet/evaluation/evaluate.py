"""The test loop: each clip once, with all its views, on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from teinet.data.dataset import READ_TIMEOUT, ClipLoader, ReadWatch
from teinet.data.lists.rows import ClipList
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import load_views
from teinet.data.views import Views, check_views
from teinet.errors import Interrupted, RunError, VideoError
from teinet.evaluation.hardware import Hardware, ending_together, gather, quiet
from teinet.evaluation.scores import Scores
from teinet.models.classifier import VideoClassifier, as_clips
from teinet.models.probabilities import Averaging, to_probabilities
from teinet.utils.progress import ProgressBars
from teinet.utils.signals import StopSignal


class StopOnSignal(Callback):
    """Raises `Interrupted` after the current batch, unless it is the last one; a second signal stops at once."""

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.take()  # the trainer put a handler of its own around ours, which talks to the other processes

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int, *_: int
    ) -> None:
        loader: Any = trainer.val_dataloaders
        clips, world = len(loader.dataset), trainer.world_size
        if batch_idx + 1 >= -(-(clips // world) // loader.batch_size):
            return  # the last batch of the smallest share: after it not all processes would answer
        stop = trainer.strategy.broadcast(self.stop.is_set()) if world > 1 else self.stop.is_set()
        if stop:
            raise Interrupted(_stopped(sum(gather(pl_module.num_scored)), clips))


_AGAIN = "partial results are not kept; run the same command to start the test again"


def _stopped(done: int, clips: int) -> str:
    return f"stopped after {done} of {clips} clips; {_AGAIN}"


class ClipScore(NamedTuple):
    """One clip's class probabilities (C,), with the damage of its file; or None and the reason why it was not read."""

    index: int
    probabilities: np.ndarray | None
    reason: str = ""
    damage: str = ""


class ViewBatch(NamedTuple):
    """`frames` (B,V,T,3,S,S) uint8 of the readable clips with their `indices` and damages, and the unreadable ones."""

    frames: torch.Tensor
    indices: list[int]
    damages: list[str]  # empty for whole files
    unreadable: list[ClipScore]


class ViewClips(Dataset):
    """Maps an index to itself, its views (V,T,3,S,S) uint8 and its damage, or to a `ClipScore` of an unreadable one."""

    def __init__(self, clips: ClipList, sampling: Sampling, preprocessing: Preprocessing, views: Views):
        check_views(views, preprocessing.fit)
        self.clips, self.sampling, self.preprocessing, self.views = clips, sampling, preprocessing, views

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor, str] | ClipScore:
        start, end = self.clips.span(index)
        try:
            loaded = load_views(
                self.clips.paths[index],
                *(self.sampling, self.preprocessing, self.views, start, end),
                max_damaged=self.clips.max_damaged,
            )
        except VideoError as error:
            return ClipScore(index, None, error.reason)
        return index, as_clips(loaded.frames), loaded.damage


def collate_views(samples: Sequence[tuple[int, torch.Tensor, str] | ClipScore]) -> ViewBatch:
    """Stack the readable clips and list the unreadable ones."""
    good = [s for s in samples if not isinstance(s, ClipScore)]
    frames = torch.stack([s[1] for s in good]) if good else torch.empty(0, dtype=torch.uint8)
    bad = [s for s in samples if isinstance(s, ClipScore)]
    return ViewBatch(frames, [s[0] for s in good], [s[2] for s in good], bad)


class Scoring(L.LightningModule):
    """Scores batches of views with a network and gathers the scores of all processes.

    Args:
        model, averaging, backwards: see `evaluate`.
        multi_label: scores are each class's own, see `to_probabilities`.
        clips_per_forward: views in one pass of the network, at least 1; bounds the memory of a step.
    """

    def __init__(
        self,
        model: VideoClassifier,
        *,
        averaging: Averaging = "probabilities",
        clips_per_forward: int = 32,
        backwards: bool = False,
        multi_label: bool = False,
    ):
        super().__init__()
        self.model = model
        self.averaging: Averaging = averaging
        self.clips_per_forward, self.backwards = clips_per_forward, backwards
        self.multi_label = multi_label
        self._scored: list[ClipScore] = []
        self.scored: list[ClipScore] = []  # of all processes

    @property
    def num_scored(self) -> int:
        """The number of clips that this process has scored or found unreadable."""
        return len(self._scored)

    def on_validation_epoch_start(self) -> None:
        self._scored = []

    def validation_step(self, batch: ViewBatch, batch_idx: int) -> None:
        self._scored += batch.unreadable
        if not batch.indices:
            return
        clips = batch.frames.flatten(0, 1)  # (B, V, T, 3, S, S) -> (B*V, T, 3, S, S)
        if self.backwards:
            clips = clips.flip(1)
        logits = torch.cat([self.model(part).float() for part in clips.split(self.clips_per_forward)])
        logits = logits.unflatten(0, batch.frames.shape[:2])  # (B, V, C)
        how = {"allow_nan": True, "multi_label": self.multi_label}  # `Scores` names clips with nan
        probabilities = to_probabilities(logits, self.averaging, **how)
        found = zip(batch.indices, probabilities, batch.damages)
        self._scored += [ClipScore(i, p, damage=damage) for i, p, damage in found]

    def on_validation_epoch_end(self) -> None:
        """Gather the scores of all processes, in the order of the list, while the process group exists."""
        parts = gather(self._scored)
        self.scored = sorted((s for part in parts for s in part), key=lambda s: s.index)


def evaluation_loader(
    dataset: ViewClips,
    *,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    watch: ReadWatch | None = None,
) -> DataLoader:
    """Return batches of this process's share of the clips, every `world_size`-th one, without padding."""
    share = range(rank, len(dataset), world_size)
    return ClipLoader(
        dataset,
        watch=watch,
        batch_size=batch_size,
        sampler=share,
        num_workers=workers,
        collate_fn=collate_views,
        pin_memory=torch.cuda.is_available(),
    )


def evaluate(
    model: VideoClassifier,
    clips: ClipList,
    *,
    sampling: Sampling,
    preprocessing: Preprocessing,
    views: Views | None = None,
    averaging: Averaging = "probabilities",
    backwards: bool = False,
    batch_size: int = 8,
    workers: int = 0,
    read_timeout: float = READ_TIMEOUT,
    hardware: Hardware | None = None,
    callbacks: Sequence[Callback] = (),
    meta: dict[str, Any] | None = None,
) -> Scores:
    """Score each clip of a list, in order; an unreadable clip has no scores and counts as wrong.

    On several devices each process returns the scores of all clips.

    Args:
        model: maps (B, T, 3, S, S) uint8 to logits (B, C) of the list's C classes; it is not changed.
        clips: N clips with their labels; with `label_sets`, a score is each class's own.
        sampling, preprocessing: select the T frames of a view, and resize them to S x S pixels.
        views: clips x crops of each video; None takes one clip and its center crop.
        averaging: over the views, of "probabilities" (after the softmax) or "logits" (before it).
        backwards: reverse the frames of each clip, to measure how much the network depends on their order.
        batch_size: views (of T frames) in one forward pass, at least 1; bounds the memory. A step decodes enough videos
            to fill a pass, at least one; the views of one video may take several passes.
        workers: decoding processes for each device; 0 decodes in this process.
        read_timeout: seconds that reading one video may take, see `ReadWatch`; 0 is no limit.
        hardware: None takes a GPU if there is one, in 32-bit precision.
        meta: JSON values to add to `Scores.meta`.

    Raises:
        ConfigError: `averaging` or a device does not exist, or T is not the network's.
        RunError: reading a video timed out, or crashed the process that read it; no scores are kept.
        Interrupted: Ctrl-C or SIGTERM, see `StopOnSignal`; no scores are kept.
    """
    views, hardware = views or Views(), hardware or Hardware()
    how = {"backwards": backwards, "multi_label": clips.label_sets is not None}
    scoring = Scoring(model, averaging=averaging, clips_per_forward=batch_size, **how)
    reading = ReadWatch(read_timeout)
    with quiet(), StopSignal() as stop:
        trainer = L.Trainer(**hardware.trainer_arguments(), logger=False, callbacks=[*callbacks, StopOnSignal(stop)])
        loader = evaluation_loader(
            ViewClips(clips, sampling, preprocessing, views),
            batch_size=max(1, batch_size // len(views)),
            workers=workers,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            watch=reading,
        )
        try:
            with ending_together(trainer), reading.guard(lambda: f"{_AGAIN.capitalize()}."):
                trainer.validate(scoring, loader, verbose=False)
        except (SystemExit, RuntimeError, RunError) as error:
            # SystemExit is what Lightning makes of a KeyboardInterrupt; a loader whose workers got SIGTERM too fails
            if not isinstance(error, SystemExit) and not stop.is_set():
                raise
            raise Interrupted(_stopped(scoring.num_scored, len(clips))) from None
    facts = {"views": str(views), "averaging": averaging, "data": clips.fingerprint(), **(meta or {})}
    if backwards:
        facts["backwards"] = True
    probabilities = np.zeros((len(clips), len(clips.class_names)), dtype=np.float32)
    reasons, damages = ["not scored"] * len(clips), [""] * len(clips)
    for score in scoring.scored:
        reasons[score.index], damages[score.index] = score.reason, score.damage
        if score.probabilities is not None:
            probabilities[score.index] = score.probabilities
    return Scores(
        paths=clips.paths,
        labels=clips.labels,
        probabilities=probabilities,
        class_names=clips.class_names,
        reasons=reasons,
        damages=damages,
        meta=facts,
        names=clips.names,
        label_sets=clips.label_sets,
    )


class TestProgress(Callback):
    """Shows a progress bar over the clips of the first process."""

    __test__ = False  # pytest would collect it by its name

    def __init__(self, console: Console, title: str = "testing"):
        self.bars, self.title = ProgressBars(console), title

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            loader: Any = trainer.val_dataloaders
            self.bars.start()
            self.task = self.bars.task(self.title, len(loader.sampler), unit="clips")

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Scoring, *args: object, **kwargs: object) -> None:
        if trainer.is_global_zero:
            self.task.update(pl_module.num_scored)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bars.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.bars.stop()
