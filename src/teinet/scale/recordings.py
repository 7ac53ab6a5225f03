"""Long recordings in bulk: each is decoded and recognized by one process, and its events are rows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset
from ray.data.dataset import MaterializedDataset

from teinet.data import remote
from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import interval_for, uses_windows
from teinet.errors import CheckpointError, ConfigError
from teinet.models.header import refuse_multi_label, weights_file
from teinet.recognition import Recognizer
from teinet.scale.manifest import read_manifest
from teinet.scale.parquet_rows import Results
from teinet.scale.ray_job import Advance, FileActor, FileStage, Row, Summary, cluster, count_starts, run_job
from teinet.utils.files import digest
from teinet.utils.worker_pool import Beat

_EVENTS = pa.schema(
    {"path": pa.string(), "start": pa.float64(), "end": pa.float64(), "label": pa.string(), "score": pa.float32(),
     "peak": pa.float32(), "trouble": pa.string(), "error": pa.string()}
)  # fmt: skip


def timeline_dataset(
    weights: str,
    manifest: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    ray: str = "local",
    rules: Rules | None = None,
    frame_interval: float | None = None,
    smoothing: int | None = None,
    stride: int | None = None,
    windows: bool = False,
    max_damaged: float = MAX_DAMAGED,
    device: str = "auto",
    engine: Any = "eager",
    precision: Any = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    advance: Advance | None = None,
) -> Summary:
    """Find the events of the recordings of a manifest on Ray; write a row for each event to Parquet files in a folder.

    Columns: path, start and end (seconds), label, score, peak, trouble (of the recording), error (why it cannot be
    read). A recording without events has one row, without a label. The same call continues a stopped one.

    Args:
        rules: of events (default: `Rules()`).
        frame_interval, smoothing, stride, windows, max_damaged: as `teinet.detection.timeline` takes them.
        workers: recordings at a time (default: one for each GPU, or each core).
        weights, manifest, output, ray, device, engine, precision, overwrite, advance: as in `predict_dataset`.

    Raises:
        ConfigError: a setting that is wrong, or not that of the command that began the folder.
        Interrupted, RunError: see `run_job`.
    """
    recognizer = Recognizer.load(weights, device="cpu")
    refuse_multi_label(recognizer.header)
    rules = (rules or Rules()).filled(recognizer.background)
    rules.check(recognizer.class_names)
    frame_interval = FrameSampler(interval_for(recognizer, frame_interval)).interval
    uses_windows(recognizer, smoothing=smoothing, stride=stride, windows=windows)  # which checks them
    how = {"frame_interval": frame_interval, "smoothing": smoothing, "stride": stride, "windows": windows}
    how |= {"max_damaged": max_damaged}
    identity = digest(weights_file(weights))
    told = {name: getattr(rules, name) for name in ("threshold", "off_threshold", "min_duration")}
    told |= {"background": list(rules.background or ())}
    settings = {"weights": identity, "engine": engine, "precision": precision, **told, **how}
    schema = _EVENTS.with_metadata({"class_names": json.dumps(recognizer.class_names), "weights": str(weights)})
    paths = read_manifest(manifest)
    results = Results(output, "timeline", settings, schema, overwrite=overwrite)

    def stages(dataset: MaterializedDataset) -> Dataset:
        cores, gpus = cluster()
        if device.startswith("cuda") and not gpus:
            raise ConfigError(f"device {device}: Ray has no GPU")
        gpus = 0 if device == "cpu" else gpus
        named = ("cuda" if gpus else "cpu") if device == "auto" or gpus else device
        work = FindEvents(Loaded(str(weights), identity, named, engine, precision), rules, how)
        reading = FileStage(work, without_events, _EVENTS, 1, count_starts())
        need: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
        return dataset.map_batches(
            FileActor, fn_constructor_args=(reading,), batch_size=None, batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(workers or gpus or cores, dataset.num_blocks())), **need,
        )  # fmt: skip

    return run_job(paths, results, stages, address=ray, advance=advance)


@dataclass(frozen=True)
class Loaded:
    """A recognizer that a process loads once."""

    weights: str
    identity: str
    device: str
    engine: Any
    precision: Any


@dataclass(frozen=True)
class FindEvents:
    """The work of the stage: the events of a recording as rows."""

    loaded: Loaded
    rules: Rules
    how: dict[str, Any]

    def __call__(self, path: str, beat: Beat) -> list[Row]:
        """Return a row for each event; one without a label if there is none."""
        file = remote.RemotePath(path) if remote.address_of(path) else path
        found = timeline(
            _recognizer(self.loaded), file, rules=self.rules, threads=1, progress=lambda second: beat(), **self.how
        )
        common = {"path": path, "trouble": found.trouble or None}
        rows = [vars(event) | common for event in found.events]
        return rows or [common]


def without_events(path: str, reason: str) -> list[Row]:
    """Return the row of a recording that cannot be read."""
    return [{"path": path, "error": reason}]


@lru_cache(1)
def _recognizer(loaded: Loaded) -> Recognizer:
    """Load the recognizer, once in a process."""
    import torch

    if loaded.device == "cpu":
        torch.set_num_threads(1)
    if digest(weights_file(loaded.weights)) != loaded.identity:
        raise CheckpointError(f"{loaded.weights}: is another file on this machine than where the command was given")
    recognizer = Recognizer.load(loaded.weights, device=loaded.device)
    return recognizer.optimize(engine=loaded.engine, precision=loaded.precision)
