"""The loop of a test: every clip once, all its views through the network, on one device or several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import lightning as L
import numpy as np
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset

from teinet.data.clips import ClipList
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.views import Averaging, Views, average_views, load_views
from teinet.errors import ConfigError, VideoError, nearest
from teinet.evaluation.scores import Scores
from teinet.models.classifier import VideoClassifier


class ClipScore(NamedTuple):
    """One clip's class probabilities (C,), or None with the reason why it could not be read."""

    index: int
    probabilities: np.ndarray | None
    reason: str = ""


class ViewBatch(NamedTuple):
    """`frames` (B,V,T,3,S,S) uint8 of the readable clips, their `indices`, and the others with their reasons."""

    frames: torch.Tensor
    indices: list[int]
    unreadable: list[ClipScore]


class ViewClips(Dataset):
    """Maps an index to the clip's views (V,T,3,S,S) uint8, or to a `ClipScore` without probabilities."""

    def __init__(self, clips: ClipList, sampling: Sampling, preprocessing: Preprocessing, views: Views):
        self.clips, self.sampling, self.preprocessing, self.views = clips, sampling, preprocessing, views

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor] | ClipScore:
        start, end = self.clips.span(index)
        try:
            loaded = load_views(self.clips.paths[index], self.sampling, self.preprocessing, self.views, start, end)
        except VideoError as error:
            return ClipScore(index, None, error.reason)
        return index, loaded.frames


def collate_views(samples: Sequence[tuple[int, torch.Tensor] | ClipScore]) -> ViewBatch:
    """Stack the readable clips, list the others."""
    good = [s for s in samples if not isinstance(s, ClipScore)]
    frames = torch.stack([s[1] for s in good]) if good else torch.empty(0, dtype=torch.uint8)
    return ViewBatch(frames, [s[0] for s in good], [s for s in samples if isinstance(s, ClipScore)])


class Scoring(L.LightningModule):
    """Scores batches of views with a network and gathers what all processes scored."""

    def __init__(self, model: VideoClassifier, *, averaging: Averaging = "probabilities", clips_per_forward: int = 32):
        super().__init__()
        self.model = model
        self.averaging = averaging
        self.clips_per_forward = clips_per_forward
        self._scored: list[ClipScore] = []
        self.scored: list[ClipScore] = []  # of all processes

    def on_validation_epoch_start(self) -> None:
        self._scored = []

    def validation_step(self, batch: ViewBatch, batch_idx: int) -> None:
        self._scored += batch.unreadable
        if not batch.indices:
            return
        clips = batch.frames.flatten(0, 1)  # (B, V, T, 3, S, S) -> (B*V, T, 3, S, S)
        logits = torch.cat([self.model(part).float() for part in clips.split(self.clips_per_forward)])
        logits = logits.unflatten(0, batch.frames.shape[:2])  # (B, V, C)
        probabilities = average_views(logits, self.averaging)
        self._scored += [ClipScore(i, p) for i, p in zip(batch.indices, probabilities.cpu().numpy())]

    def on_validation_epoch_end(self) -> None:
        """Gather the scores of all processes, in the order of the list, while the processes still talk."""
        parts = gather(self._scored)
        self.scored = sorted((s for part in parts for s in part), key=lambda s: s.index)


def gather(value: Any) -> list[Any]:
    """What each process of the run holds, in every process; of a single process a list of one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def evaluation_loader(
    dataset: ViewClips, *, batch_size: int, workers: int, rank: int = 0, world_size: int = 1
) -> DataLoader:
    """Batches of this process's share of the clips: every `world_size`-th one, so that none is counted twice."""
    share = range(rank, len(dataset), world_size)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=share,
        num_workers=workers,
        collate_fn=collate_views,
        worker_init_fn=prepare_worker,
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


def prepare_worker(worker_id: int) -> None:
    """Leave Ctrl-C to the main process and one thread to each worker."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a run or a test computes on; `precision` as Lightning names it.

    Raises:
        ConfigError: this machine has no such device, or not so many.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        for name, kind in (("accelerator", Accelerator), ("precision", Precision)):
            value, valid = getattr(self, name), get_args(kind)
            if value not in valid:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(valid)}.{nearest(value, valid)}")
        if self.devices < 1:
            raise ConfigError(f"devices is {self.devices}; it must be at least 1")
        if self.accelerator == "mps" and not torch.backends.mps.is_available():
            raise ConfigError("accelerator is mps, but this machine offers no Apple GPU to torch; take cpu")
        if self.accelerator == "cuda" or (self.accelerator == "auto" and torch.cuda.is_available()):
            if (found := torch.cuda.device_count()) < self.devices:
                advice = f"at most {found}" if found else "accelerator cpu"
                raise ConfigError(
                    f"devices is {self.devices} on cuda, but torch finds {found or 'none'} here; take {advice}"
                )

    def trainer_arguments(self) -> dict[str, Any]:
        """What Lightning's Trainer takes of this."""
        return {**asdict(self), "strategy": "ddp" if self.devices > 1 else "auto", "use_distributed_sampler": False}


class _TestData(L.LightningDataModule):
    def __init__(self, dataset: ViewClips, batch_size: int, workers: int):
        super().__init__()
        self.dataset, self.batch_size, self.workers = dataset, batch_size, workers

    def val_dataloader(self) -> DataLoader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return evaluation_loader(
            self.dataset, batch_size=self.batch_size, workers=self.workers, rank=rank, world_size=world
        )


def evaluate(
    model: VideoClassifier,
    clips: ClipList,
    *,
    sampling: Sampling,
    preprocessing: Preprocessing,
    views: Views | None = None,
    averaging: Averaging = "probabilities",
    batch_size: int = 8,
    workers: int = 0,
    hardware: Hardware | None = None,
    callbacks: Sequence[Callback] = (),
    meta: dict[str, Any] | None = None,
) -> Scores:
    """Score every clip of a list; an unreadable one has no scores and counts as wrong.

    Every process of a multi-device run returns the scores of all.
    """
    views, hardware = views or Views(), hardware or Hardware()
    scoring = Scoring(model, averaging=averaging)
    quiet()
    trainer = L.Trainer(
        **hardware.trainer_arguments(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    data = _TestData(ViewClips(clips, sampling, preprocessing, views), batch_size, workers)
    trainer.validate(scoring, datamodule=data, verbose=False)
    facts = {"views": str(views), "averaging": averaging, "data": clips.fingerprint(), **(meta or {})}
    return to_scores(scoring.scored, clips, facts)


def to_scores(scored: Sequence[ClipScore], clips: ClipList, meta: dict[str, Any]) -> Scores:
    """One table of a list's clips and their probabilities (N,C); rows of unreadable clips are zero."""
    probabilities = np.zeros((len(clips), len(clips.class_names)), dtype=np.float32)
    reasons = ["not scored"] * len(clips)
    for score in scored:
        reasons[score.index] = score.reason if score.probabilities is None else ""
        if score.probabilities is not None:
            probabilities[score.index] = score.probabilities
    return Scores(
        paths=clips.paths,
        labels=clips.labels,
        probabilities=probabilities,
        class_names=clips.class_names,
        reasons=reasons,
        meta=meta,
    )


def quiet() -> None:
    """Silence the trainer's own chatter; what a user needs to know, our callbacks say."""
    warnings.filterwarnings("ignore", module=r"lightning|torchdata|torch\.utils\.data")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
