"""The folder of a run: recipe, facts, log and state; creating, locking and resuming it."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from teinet import __version__
from teinet.data.lists.splits import Splits
from teinet.data.remote import address_of
from teinet.errors import ConfigError
from teinet.models.header import LAST, STATE
from teinet.training.recipe import Recipe
from teinet.utils.files import is_plain_zip, part_of, write_csv, write_text
from teinet.utils.signals import first_process

RECIPE = "recipe.yaml"
FACTS = "run.json"
BEST = "best.safetensors"
LOG = "log.csv"
COLUMNS = ("epoch", "step", "lr", "loss", "top1", "val_top1", "val_loss", "seconds", "data_share")  # of the log
SEVERAL = tuple("val_map" if name == "val_top1" else name for name in COLUMNS if name != "top1")  # labels a clip
LOCK = ".lock"  # held while a process is training here
CURVES, UNREADABLE = "curves.png", "unreadable.csv"
LOGGERS = {"tensorboard": "tensorboard", "csv": "csv", "wandb": "wandb", "mlflow": "mlflow"}  # folders by logger
DAMAGED = "damaged.csv"  # files that are used although they lack frames
MISSING = "missing.csv"  # clips of the list that do not exist and were left out
FOLDER_VARIABLE = "TEINET_RUN_FOLDER"  # tells the other processes of a run where the first one put it


def make_folder(recipe: Recipe) -> Path:
    """Create the run's folder and return it; an environment variable tells the run's other processes its name."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    refuse_folder(recipe)
    folder = next_folder(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.run.devices > 1:
        os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def next_folder(recipe: Recipe) -> Path:
    """Return the folder of a new run: of its name, or of the first number that is free."""
    root = Path(recipe.run.output)
    if recipe.run.name:
        return root / recipe.run.name
    return next(folder for n in count(1) if not (folder := root / f"{recipe.default_name}-{n}").exists())


def refuse_folder(recipe: Recipe) -> None:
    """Raise ConfigError if the folder of a new run is not empty."""
    if not recipe.run.name or not first_process():  # the others find it begun
        return
    folder = Path(recipe.run.output) / recipe.run.name
    if (folder / STATE).exists():
        raise _holds_run(folder)
    if folder.exists() and any(path.name != LOCK for path in folder.iterdir()) and not _is_unsaved(folder):
        raise ConfigError(f"{folder} holds files but no run to continue; remove the folder, or choose another name")


def _holds_run(folder: Path) -> ConfigError:
    how = f"continue it with --resume {folder} (in Python: resume={str(folder)!r})"
    return ConfigError(f"{folder} holds a run; {how}, or choose another name")


def _is_unsaved(folder: Path) -> bool:
    """Return whether a folder holds what a run writes before its first state, and no more."""
    before = {RECIPE, FACTS, MISSING, UNREADABLE, DAMAGED, LOG, CURVES, LOCK, *LOGGERS.values()}
    parts = {part_of(folder / name).name for name in (*before, BEST, LAST, STATE)}
    if len(read_log(folder / LOG)) < 2:  # the weights of the first epoch come before its state
        before |= {BEST, LAST}
    names = {path.name for path in folder.iterdir()} - parts
    began = RECIPE in names or names <= {LOCK}
    return began and names <= before and "finished" not in read_facts(folder)


@contextmanager
def alone_in(folder: Path, *, resumed: bool) -> Iterator[None]:
    """Lock the folder for the processes of one run; a new run removes what one without a state left.

    Raises:
        ConfigError: another run is training in it.
    """
    if not first_process():
        yield
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another process is training in {folder}; wait until it ends, or choose another name"
        ) from None
    try:
        left = [] if resumed else [path for path in folder.iterdir() if path.name != LOCK]
        if left and not _is_unsaved(folder):  # of a run that began and saved a state meanwhile
            raise _holds_run(folder)
        for path in left:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        yield
    finally:
        lock.release()


def is_run_of(folder: Path, recipe: Recipe) -> bool:
    """Return whether the run in `folder` has this very recipe."""
    path = folder / RECIPE
    return path.is_file() and yaml.safe_load(path.read_text()) == asdict(recipe.with_absolute_paths())


# Where the clips are, which may have moved.
PLACES = ("path", "root", "val_path", "test_path", "labels")
# Settings of the machine: they do not change what is learned.
MACHINE = ("max_unreadable", "workers", "read_timeout", "threads", "save_every_steps", "save_every_minutes")

# How long the run is.
LENGTH = ("epochs", "patience")


def recipe_to_resume(folder: Path, asked: Recipe, given: Set[str]) -> Recipe:
    """Return the recipe of the run in `folder`, with the settings of `asked` that are `given`: `MACHINE` and `PLACES`.

    `LENGTH` may be given too: a run that is finished continues for more epochs, by the schedule of their new number.

    Raises:
        ConfigError: another setting is given, the clips' path is missing, or the folder has no run that can continue.
    """
    if not (folder / RECIPE).is_file():
        raise ConfigError(f"{folder} is not a run: it has no {RECIPE}; name a folder that `teinet train` made")
    recipe = Recipe.load(folder / RECIPE)
    allowed = {
        *(f"run.{name}" for name in MACHINE),
        *(f"data.{name}" for name in PLACES),
        *(f"optim.{n}" for n in LENGTH),
    }
    if other := sorted(given - allowed):
        words = " ".join(f"--{name} {attrgetter(name)(asked)}" for name in other)
        data = asked.data.path if "data.path" in given else recipe.data.path
        raise ConfigError(
            f"--resume {folder} continues the run by its own recipe; for other settings, start from its weights: "
            f"teinet train {data} --weights {folder} {words} (--resume takes only run.{', run.'.join(MACHINE)}; "
            "--epochs and --optim.patience, to train for longer; and --data, where the clips have moved)"
        )
    if not (folder / STATE).is_file():
        reason = f"{folder} has no {STATE}: the run stopped before its first state was saved"
        raise ConfigError(f"{reason}; the command that began it begins again")
    if not is_plain_zip(folder / STATE):
        raise ConfigError(f"{folder / STATE} is truncated or not a state, so the run cannot continue; start it again")
    longer = {name: getattr(asked.optim, name) for name in LENGTH if f"optim.{name}" in given}
    if (epochs := longer.get("epochs")) is not None and epochs < recipe.optim.epochs:
        raise ConfigError(
            f"--resume {folder}: its recipe has {recipe.optim.epochs} epochs; fewer, {epochs}, cannot be set"
        )
    changed = {name: getattr(asked.run, name) for name in MACHINE if f"run.{name}" in given}
    moved = {name: getattr(asked.data, name) for name in PLACES if f"data.{name}" in given}
    if not moved and recipe.data.path and not (Path(recipe.data.path).exists() or address_of(recipe.data.path)):
        reason = "no such file or folder; this path is from the run's recipe"
        raise ConfigError(f"{recipe.data.path}: {reason}: if the same clips have moved, add --data PATH")
    return replace(
        recipe,
        data=replace(recipe.data, **moved),
        optim=replace(recipe.optim, **longer),
        run=replace(recipe.run, **changed),
    )


def write_facts(folder: Path, recipe: Recipe, splits: Splits, *, precision: str, processes: int) -> None:
    """Write the recipe, run.json and the list of missing clips; if they exist, note that the run was resumed."""
    import av
    import torch  # not above: the report reads runs without it

    if not first_process():
        return
    began = {"command": sys.argv, "started": _now()}
    if (folder / FACTS).exists():
        facts = read_json(folder / FACTS)
        facts.pop("finished", None)  # if there are more epochs now
        write_json(folder / FACTS, {**facts, "resumed": [*facts.get("resumed", []), began]})
        before = Recipe.load(folder / RECIPE)
        kept = replace(before, optim=recipe.optim)
        if kept != before:
            write_text(folder / RECIPE, yaml.safe_dump(asdict(kept), sort_keys=False))
        return
    write_text(folder / RECIPE, yaml.safe_dump(asdict(recipe), sort_keys=False))
    facts = {
        **began,
        "seed": recipe.run.seed,
        "learning_rate": recipe.optim.learning_rate(processes),
        "processes": processes,
        "precision": precision,
        "data": {split: clips.fingerprint() for split, clips in splits.items()},
        "format": splits.source.format,
        "missing": len(splits.source.dropped),
        "notes": splits.source.notes,
        "decoder": {"PyAV": av.__version__, **{k: ".".join(map(str, v)) for k, v in av.library_versions.items()}},
        "versions": {
            "teinet": __version__,
            "torch": str(torch.__version__),
            "timm": version("timm"),
            "lightning": version("lightning"),
            "python": platform.python_version(),
        },
    }
    write_json(folder / FACTS, facts)
    if splits.source.dropped:
        rows = [(r.path, "|".join(r.labels), r.split, r.file, r.line) for r in splits.source.dropped]
        write_csv(folder / MISSING, ("path", "label", "split", "file", "line"), rows)


def is_finished(folder: Path, splits: Splits, recipe: Recipe) -> bool:
    """Return whether all epochs of `recipe` are done; ConfigError if the run's clips have changed since it began."""
    facts = read_facts(folder)
    for split, clips in splits.items():
        then, now = facts.get("data", {}).get(split), clips.fingerprint()
        if split in ("train", "val") and then and then != now:
            raise ConfigError(
                f"the {split} clips are not those that {folder} began with ({then['clips']} then, {now['clips']} now, "
                f"or other names); restore them, or start a new run from its weights (--weights {folder})"
            )
    before = Recipe.load(folder / RECIPE).optim
    return "finished" in facts and all(getattr(recipe.optim, name) == getattr(before, name) for name in LENGTH)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the contents of run.json; empty if it is missing."""
    return read_json(folder / FACTS) if (folder / FACTS).exists() else {}


def close_facts(folder: Path, *, unreadable: int) -> None:
    """Note in run.json that the run is finished, and how many clips could not be read."""
    facts = read_json(folder / FACTS)
    write_json(folder / FACTS, {**facts, "finished": _now(), "unreadable": unreadable})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a run's log.csv; none if there is no log yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
