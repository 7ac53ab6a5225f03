"""Runs whose processes torchrun or Slurm started, on one machine or several: who is there, and whether all agree."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed

from teinet import __version__
from teinet.data.lists.rows import ClipList
from teinet.data.lists.splits import Splits
from teinet.errors import ConfigError, RunError
from teinet.evaluation.hardware import gather, refuse_lost
from teinet.training.recipe import Recipe
from teinet.training.run_dir import MACHINE, PLACES
from teinet.utils.signals import first_process

_WAIT = timedelta(minutes=30)  # for the other processes, as in Lightning; one that has ended is noticed at once
_SHOWN = 10.0  # seconds until a folder that one node made is seen by the others


@dataclass(frozen=True)
class Launch:
    """The processes of a run, as their launcher tells each of them.

    Args:
        by: the launcher.
        processes: their number.
        devices: of them, those on each machine.
    """

    by: str
    processes: int
    devices: int


def launched() -> Launch | None:
    """Return who started this process together with others; None of a process alone.

    Slurm's numbers of this process get the names of torchrun's, RANK and LOCAL_RANK, in the environment.

    Raises:
        ConfigError: nodes with different numbers of processes.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    variables = os.environ
    if "TORCHELASTIC_RUN_ID" in variables:
        by, size, local = "torchrun", int(variables["WORLD_SIZE"]), int(variables["LOCAL_WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        by, size = "Slurm", int(variables["SLURM_NTASKS"])
        local = size // int(variables.get("SLURM_NNODES", 1))
        variables |= {"RANK": variables["SLURM_PROCID"], "LOCAL_RANK": variables["SLURM_LOCALID"]}
    else:
        return None
    if size == 1:
        return None
    if not local or size % local:
        raise ConfigError(f"{by} started {size} processes, {local} of them on this node; start as many on each node")
    return Launch(by, size, local)


@contextmanager
def together() -> Iterator[Launch | None]:
    """Join the other processes of the launcher for the block; of a process alone, do nothing.

    Raises:
        RunError: another process does not come.
    """
    launch = launched()
    if launch is None or torch.distributed.is_initialized():
        yield launch
        return
    if launch.by == "Slurm":
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        found = SLURMEnvironment()
        os.environ.setdefault("MASTER_ADDR", found.main_address)
        os.environ.setdefault("MASTER_PORT", str(found.main_port))
    rank = int(os.environ["RANK"])
    try:
        torch.distributed.init_process_group(timeout=_WAIT, world_size=launch.processes, rank=rank)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(f"process {rank} of {launch.processes} cannot join the others ({first})") from None
    try:
        yield launch
    except RuntimeError as error:
        refuse_lost(error)
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def agree(recipe: Recipe, splits: Splits) -> None:
    """Compare version, settings and clips of all processes of a launcher; the paths of the clips may differ.

    Raises:
        ConfigError: in each process, with what differs.
    """
    settings = asdict(replace(recipe, data=replace(recipe.data, **dict.fromkeys(PLACES))))
    for name in MACHINE:
        settings["run"].pop(name)
    own = {"version of teinet": __version__}
    own |= {
        f"{part}.{name}": value
        for part, section in settings.items()
        if isinstance(section, dict)
        for name, value in section.items()
    }
    own |= {f"{split} clips": _in_words(clips) for split, clips in splits.items()}
    first, *others = gather(own)
    for number, other in enumerate(others, 1):
        for what in dict.fromkeys([*first, *other]):
            if (a := first.get(what)) != (b := other.get(what)):
                said = f"process 0 has {what} {a}, process {number} has {b}"
                raise ConfigError(f"the processes of this run differ: {said}; give all nodes the same")


def _in_words(clips: ClipList) -> str:
    own = clips.fingerprint()
    return f"({own['clips']} clips of {own['classes']} classes, hash {str(own['sha256'])[:12]})"


def share_folder(make: Callable[[], Path]) -> Path:
    """Return the folder that the first process makes, in all of them.

    Raises:
        ConfigError: a node does not see it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return make()
    folder = next(each for each in gather(make() if first_process() else None) if each)
    end = time.monotonic() + _SHOWN
    while not (seen := folder.is_dir()) and time.monotonic() < end:
        time.sleep(0.2)
    if missing := [number for number, each in enumerate(gather(seen)) if not each]:
        said = f"process {missing[0]} does not see the folder {folder} of process 0"
        raise ConfigError(f"{said}; --output must name a folder that all nodes share")
    return folder
