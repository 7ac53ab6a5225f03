"""Clips in bulk: one stage decodes, another runs the network, each on as many cores or GPUs as there are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset
from ray.data.dataset import MaterializedDataset

from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import LoadedViews, load_views
from teinet.data.views import Views, check_views
from teinet.errors import CheckpointError, ConfigError, TeinetError, VideoError
from teinet.models.header import read_header, weights_file
from teinet.recognition import Recognizer
from teinet.scale.manifest import read_manifest
from teinet.scale.parquet_rows import Results
from teinet.scale.ray_job import Advance, FileStage, Row, Summary, cluster, count_starts, pack, run_job, unpack
from teinet.utils.files import digest
from teinet.utils.worker_pool import Beat

_VIEWS_TOGETHER = 32  # of an item: bounds memory, and is enough for a GPU
_DECODER_CPUS = 0.25  # on a machine without a GPU the networks take the most

_DECODED = pa.schema(
    {"path": pa.string(), "frames": pa.large_binary(), "shape": pa.list_(pa.int64()), "num_frames": pa.int64(),
     "damage": pa.string(), "error": pa.string()}
)  # fmt: skip
SCORED = pa.schema(
    {"path": pa.string(), "label": pa.string(), "score": pa.float32(), "scores": pa.list_(pa.float32()),
     "damage": pa.string(), "error": pa.string()}
)  # fmt: skip


def predict_dataset(
    weights: str,
    manifest: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    ray: str = "local",
    views: str = "1x1",
    start: float | None = None,
    end: float | None = None,
    max_damaged: float = MAX_DAMAGED,
    min_score: float = 0.0,
    device: str = "auto",
    engine: Any = "eager",
    precision: Any = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    advance: Advance | None = None,
) -> Summary:
    """Recognize the clips of a manifest on Ray; write a row for each to Parquet files in a folder, as they come.

    Columns: path, label (the best class; null below `min_score`), score, scores (in the order of the class names, which
    are in the schema's metadata as JSON), damage, error (why it cannot be read). The same call continues a stopped one.

    Args:
        weights: as `Recognizer.load` takes them; on a cluster, a file that all machines have, or a pretrained name.
        manifest: see `read_manifest`; paths that all machines can read.
        output: a folder.
        ray: `local`, or the address of a cluster; an open connection of this process is used as it is.
        batch_size: views in one pass of the network; None runs each clip by itself.
        workers: clips that are decoded at a time (default: as Ray finds cores).
        advance: is called with the numbers of files that are done, were done before, and are in the manifest.
        views, start, end, max_damaged, device, engine, precision: as `Recognizer` takes them.

    Raises:
        ConfigError: a setting that is wrong, or not that of the command that began the folder.
        Interrupted, RunError: see `run_job`.
    """
    header = read_header(weights)
    if not all(header.get(name) for name in ("class_names", "preprocessing", "sampling")):
        header = Recognizer.load(weights, device="cpu").full_header
    sampling, preprocessing = Sampling(**header["sampling"]), Preprocessing.from_dict(header["preprocessing"])
    check_views(Views.parse(views), preprocessing.fit)
    how = {"views": views, "start": start, "end": end, "max_damaged": max_damaged}
    identity = digest(weights_file(weights))
    settings = {"weights": identity, "engine": engine, "precision": precision, "min_score": min_score, **how}
    schema = SCORED.with_metadata({"class_names": json.dumps(header["class_names"]), "weights": str(weights)})
    paths = read_manifest(manifest)
    results = Results(output, "predict", settings, schema, overwrite=overwrite)
    decode = Decode(sampling, preprocessing, how)
    network = {"weights": str(weights), "identity": identity, "engine": engine, "precision": precision}
    network |= {"min_score": min_score, "batch_size": batch_size}
    stages = Stages(decode, Network, network, device, together(views, batch_size), workers)
    return run_job(paths, results, stages, address=ray, advance=advance)


def together(views: str, batch_size: int | None) -> int:
    """Return how many clips one item has."""
    parsed = Views.parse(views)
    return max(1, max(_VIEWS_TOGETHER, batch_size or 0) // (parsed.num_clips * parsed.num_crops))


@dataclass(frozen=True)
class Stages:
    """The two stages of a dataset of paths.

    Args:
        decode: the work of the first one.
        network: the class of the second one, which maps items to items, and its arguments.
        device: where the networks run; `auto` takes the GPUs of Ray if it has some.
        together: files of an item.
        workers: files that are decoded at a time; None is as Ray finds cores.
    """

    decode: Any
    network: type
    arguments: dict[str, Any]
    device: str
    together: int
    workers: int | None

    def __call__(self, paths: MaterializedDataset) -> Dataset:
        """Return the dataset of scored items."""
        cores, gpus = cluster()
        if self.device.startswith("cuda") and not gpus:
            raise ConfigError(f"device {self.device}: Ray has no GPU")
        if self.device == "cpu":
            gpus = 0
        form: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
        reading = FileStage(self.decode, unreadable, _DECODED, self.together, count_starts())

        def decode_block(block: pa.Table) -> Iterator[pa.Table]:
            yield from reading(block)

        decoded = paths.map_batches(
            decode_block, **form, zero_copy_batch=True,
            num_cpus=1 if gpus else _DECODER_CPUS, concurrency=self.workers,
        )  # fmt: skip
        need: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1 - _DECODER_CPUS}
        named = ("cuda" if gpus else "cpu") if self.device == "auto" or gpus else self.device
        return decoded.map_batches(
            self.network, fn_constructor_kwargs=self.arguments | {"device": named}, **form,
            compute=ActorPoolStrategy(size=min(gpus or cores, paths.num_blocks())), **need,
        )  # fmt: skip


@dataclass(frozen=True)
class Decode:
    """The work of the first stage: the views of a clip as one row."""

    sampling: Sampling
    preprocessing: Preprocessing
    how: dict[str, Any]

    def __call__(self, path: str, beat: Beat) -> list[Row]:
        """Return the row of a clip."""
        found = load_views(path, self.sampling, self.preprocessing, **self.how)
        row = {"path": path, "frames": found.frames.tobytes(), "shape": found.frames.shape}
        return [row | {"num_frames": found.num_frames, "damage": found.damage or None}]


def unreadable(path: str, reason: str) -> list[Row]:
    """Return the row of a clip that cannot be decoded."""
    return [{"path": path, "error": reason}]


class Network:
    """The second stage: scores of the views of an item; on a CPU one thread, of as many actors as cores."""

    def __init__(
        self,
        weights: str,
        identity: str,
        device: str,
        engine: Any,
        precision: Any,
        min_score: float,
        batch_size: int | None,
    ):
        import torch

        if device == "cpu":
            torch.set_num_threads(1)
        if digest(weights_file(weights)) != identity:
            raise CheckpointError(f"{weights}: is another file on this machine than where the command was given")
        self._recognizer = Recognizer.load(weights, device=device).optimize(engine=engine, precision=precision)
        self._recognizer.min_score = min_score
        self._batch_size = batch_size

    def __call__(self, items: pa.Table) -> Iterator[pa.Table]:
        """Yield an item of scores for each item of views."""
        for rows in unpack(items):
            answers = self._recognizer.predict_decoded(_views(rows), top_k=1, batch_size=self._batch_size)
            scored = [
                {"path": answer.path, "label": answer.label, "score": answer.labels[0][1] if answer.labels else None,
                 "scores": answer.scores, "damage": answer.damage or None, "error": answer.error}
                for answer in answers
            ]  # fmt: skip
            yield pack(pa.Table.from_pylist(scored, SCORED))


def _views(rows: pa.Table) -> Iterator[tuple[str, LoadedViews | TeinetError]]:
    for number, row in enumerate(rows.drop_columns("frames").to_pylist()):
        if row["error"] is not None:
            yield row["path"], VideoError(row["path"], row["error"])
            continue
        frames = np.frombuffer(rows["frames"][number].as_buffer(), np.uint8).reshape(row["shape"]).copy()
        yield row["path"], LoadedViews(frames, np.empty(0), None, row["num_frames"], row["damage"] or "")
