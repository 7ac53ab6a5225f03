"""Features of clips by a frozen network, computed once in several processes and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from teinet.data.lists.rows import ClipList
from teinet.data.tools.checking import stamp
from teinet.data.view_loading import load_views
from teinet.errors import Interrupted, VideoError
from teinet.models.classifier import as_clips
from teinet.recognition.recognizer import Recognizer
from teinet.utils import worker_pool as pool
from teinet.utils.files import cache_folder, replacing
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal

_LAYOUT = 1  # of the files, raised when the same clip gives another array


class ClipTask(NamedTuple):
    """A clip to read, and the file for its features."""

    index: int
    path: str
    start: float | None
    end: float | None
    target: Path


@dataclass(frozen=True)
class ClipFeatures:
    """Features of a list's readable clips.

    Args:
        values: (N, T, D) float16, those of the frames of each clip.
        indices: (N,) of these clips in the list.
        unreadable: path and reason of each other clip.
        damaged: path and damage, in words, of each readable clip of a damaged file that was read now.
        known: number of clips whose features were kept from before.
    """

    values: np.ndarray
    indices: np.ndarray
    unreadable: list[tuple[str, str]]
    damaged: list[tuple[str, str]]
    known: int


def clip_features(
    recognizer: Recognizer,
    clips: ClipList,
    *,
    device: str,
    workers: int,
    timeout: float,
    console: Console | None = None,
) -> ClipFeatures:
    """Return the features of all clips of a list; those computed before come from the cache folder.

    They are kept by file (path, size, time of change), times, network, sampling and preprocessing.

    Args:
        recognizer: gives the features, see `VideoClassifier.features`.
        device: of the networks in the processes.
        workers: number of processes; 0 works in this one, without a timeout.
        timeout: seconds after which a clip that is not read is given up.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; what was computed is kept.
        OSError: the cache folder cannot be written.
    """
    folder, network = _home(recognizer)
    found: dict[int, np.ndarray] = {}
    unreadable, damaged, tasks = [], [], []
    for index in range(len(clips)):
        start, end = clips.span(index)
        try:
            target = folder / f"{_key(clips.paths[index], start, end)}.npy"
        except OSError as error:
            unreadable.append((clips.paths[index], error.strerror or str(error)))
            continue
        if (kept := _read(target)) is not None:
            found[index] = kept
        else:
            tasks.append(ClipTask(index, clips.paths[index], start, end, target))
    known = len(found)
    work = partial(_compute, network, device, clips.max_damaged, max(1, torch.get_num_threads() // max(1, workers)))
    with StopSignal() as stop, file_progress(console, "features", len(clips), done=known, unit="clips") as advance:
        for done in pool.run(work, tasks, workers=workers, timeout=timeout, stop=stop):
            reason, damage = (done.value.reason, "") if isinstance(done.value, pool.TaskFailure) else done.value
            values = None if reason else _read(done.task.target)
            if values is None:
                unreadable.append((done.task.path, reason or "its features were removed meanwhile"))
            else:
                found[done.task.index] = values
                damaged += [(done.task.path, damage)] if damage else []
            advance(f"{len(unreadable)} unreadable" if unreadable else "")
        if stop.is_set() and len(found) + len(unreadable) < len(clips):
            raise Interrupted(f"stopped after {len(found)} of {len(clips)} clips; run the same command to continue")
    order = sorted(found)
    values = np.stack([found[index] for index in order]) if order else np.empty((0, 1, 1), np.float16)
    return ClipFeatures(values, np.array(order, np.int64), unreadable, damaged, known)


def _home(recognizer: Recognizer) -> tuple[Path, Path]:
    """Return the folder of a network's features, and the file that processes load the network from."""
    settings = {key: recognizer.full_header[key] for key in ("preprocessing", "sampling")}
    name = hashlib.sha256(json.dumps([_LAYOUT, recognizer.model.config, settings], sort_keys=True).encode())
    head = recognizer.model.head_name
    for key, tensor in sorted(recognizer.model.state_dict().items()):
        if not key.startswith(f"{head}."):
            name.update(key.encode() + tensor.cpu().numpy().tobytes())
    folder = cache_folder() / "features" / name.hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    if not (network := folder / "network.safetensors").exists():
        with replacing(network, shared=True) as part:
            recognizer.save(part)
    return folder, network


def _key(path: str, start: float | None, end: float | None) -> str:
    return hashlib.sha256(
        f"{Path(path).absolute()}\t{stamp(path)}\t{start}\t{end}".encode("utf-8", "surrogateescape")
    ).hexdigest()[:32]


def _read(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def _compute(
    network: Path, device: str, max_damaged: float, threads: int, task: ClipTask, beat: pool.Beat
) -> tuple[str, str]:
    """Write the features of a clip; return why it cannot be read, or "", and the damage of its file."""
    recognizer = _loaded(network, device, threads)
    try:
        loaded = load_views(
            task.path, recognizer.sampling, recognizer.preprocessing, "1x1", task.start, task.end,
            max_damaged=max_damaged,
        )  # fmt: skip
    except VideoError as error:
        return error.reason, ""
    beat()
    with torch.inference_mode():
        values = recognizer.model.features(as_clips(loaded.frames).to(recognizer.device))[0]
    with replacing(task.target, shared=True) as part, part.open("wb") as file:
        np.save(file, values.half().cpu().numpy())
    return "", loaded.damage


@lru_cache(maxsize=1)
def _loaded(network: Path, device: str, threads: int) -> Recognizer:
    torch.set_num_threads(threads)
    return Recognizer.load(network, device=device)
