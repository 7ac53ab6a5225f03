"""Runs read from disk: their folders, recipe, info, log, tests and warnings."""

from __future__ import annotations

import csv
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from teinet.data.video.source import refuse_address
from teinet.errors import ConfigError, nearest
from teinet.evaluation.scores import METRICS, SCORES
from teinet.models.header import LAST, Kinds
from teinet.report.results import NUMBER, Outcome, read, read_object, read_outcome, short_names
from teinet.training.recipe_files import read_yaml
from teinet.training.run_dir import FACTS, LOG, RECIPE, read_log
from teinet.utils.files import digest
from teinet.utils.text import count, natural, printable

_DEPTH = 2  # runs/ and runs/group/ are searched; deeper folders may be hundreds of thousands of clips
_KINDS: Kinds = {
    **dict.fromkeys(("command", "resumed", "notes"), list),
    **dict.fromkeys(("started", "finished", "precision", "format"), str),
    **dict.fromkeys(("seed", "missing", "unreadable"), int),
    **dict.fromkeys(("data", "decoder", "versions"), dict),
    "learning_rate": NUMBER,
}


@dataclass(frozen=True)
class Remark:
    """A warning on a run's results, and the command that fixes it."""

    text: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run: a trained network with its tests, or a test alone.

    Args:
        trained: false for a test alone, such as an ensemble's, and for weights from elsewhere.
        recipe, info: contents of recipe.yaml and run.json; empty if missing or damaged.
        network: its name, or the names of an ensemble.
        frames: T of a clip.
        parameters: of the network, or the sum of an ensemble; None before the first test.
        epochs, epochs_planned: epochs done, and epochs of the recipe.
        seconds: in training steps, without validation and breaks; None before the first epoch's end.
        log: the numbers of each epoch, by column.
        unreadable, missing, damaged: clips that could not be read, clips of the list without a file, and files
            that were used although they lack frames.
        problems: damaged files.
    """

    folder: Path
    name: str
    trained: bool
    recipe: dict[str, Any]
    info: dict[str, Any]
    network: str
    frames: int | None
    parameters: int | None
    epochs: int
    epochs_planned: int | None
    finished: bool
    seconds: float | None
    log: list[dict[str, float]]
    tests: list[Outcome]
    unreadable: int
    damaged: int
    missing: int
    problems: list[str]
    warnings: list[Remark] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Network, frames, size and data set: `teinet_resnet50, 8 frames, 30.4 M parameters, something_v1`."""
        parts = [self.network]
        parts += [f"{self.frames} frames"] if self.frames is not None else []
        parts += [f"{self.parameters / 1e6:.1f} M parameters"] if self.parameters else []
        parts += [self.info["format"]] if "format" in self.info else []
        return printable(", ".join(parts))


def read_runs(names: Iterable[str | Path]) -> list[Run]:
    """Read the runs in folders that `teinet train` or `teinet test` wrote, or in folders of runs, each once.

    `names` keep their order; runs within a folder are in natural order.

    Raises:
        ConfigError: a folder is missing or has no run.
    """
    found: dict[str, Path] = {}
    for name in names:
        path = Path(os.path.expanduser(name))
        if path.is_file():
            raise ConfigError(f"{name} is a file; name the run's folder, {path.parent}")
        if not path.is_dir():
            refuse_address(name)
            siblings = [p.name for p in path.absolute().parent.glob("*")]
            raise ConfigError(f"{name}: no such folder.{nearest(path.name, siblings)}")
        runs = _runs_in(path, _DEPTH)
        if not runs:
            raise ConfigError(f"{name}: no run found; name a folder that `teinet train` or `teinet test` wrote")
        for run in runs:
            found.setdefault(os.path.realpath(run), run)
    return [_read_run(folder, name) for folder, name in zip(found.values(), short_names(list(found.values())))]


def _runs_in(folder: Path, depth: int) -> list[Path]:
    """Return the folder if it is a run, a test, or has weights next to tests; else the runs in it."""
    if any((folder / name).is_file() for name in (RECIPE, FACTS)) or _is_test(folder):
        return [folder]
    inner = _folders(folder)
    own = any(path.name != SCORES for path in folder.glob("*.safetensors"))
    if any(_is_test(each) and (own or each.name.startswith("test-")) for each in inner):
        return [folder]
    return [run for each in inner for run in _runs_in(each, depth - 1)] if depth else []


def _is_test(folder: Path) -> bool:
    return (folder / METRICS).is_file()


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names, key=natural)]


def _read_run(folder: Path, name: str) -> Run:
    """Read a run, leaving out damaged files, which `Run.problems` lists."""
    problems: list[str] = []
    trained = any((folder / file).is_file() for file in (RECIPE, FACTS))
    if trained:
        problems += [f"{file} is missing" for file in (RECIPE, FACTS) if not (folder / file).is_file()]
    recipe = read(folder / RECIPE, _recipe, problems) or {}
    info = read(folder / FACTS, lambda path: read_object(path, _KINDS), problems) or {}
    log = read(folder / LOG, _log, problems) or []
    places = [folder] if _is_test(folder) else list(filter(_is_test, _folders(folder)))
    tests = [test for place in places if (test := read_outcome(place, problems)) is not None]
    alone = [test for test in tests if not test.members] or tests
    tested = next((test.network for test in alone if test.network), "-")
    # unreadable.csv is written during the run; run.json has the count at its end.
    unreadable = read(folder / "unreadable.csv", _count_rows, problems) or info.get("unreadable", 0)
    run = Run(
        folder=folder,
        name=name,
        trained=trained,
        recipe=recipe,
        info=info,
        network=str(recipe.get("model", {}).get("name") or tested),
        frames=recipe.get("model", {}).get("num_frames"),
        parameters=next((test.parameters for test in alone if test.parameters), None),
        epochs=len(log),
        epochs_planned=recipe.get("optim", {}).get("epochs"),
        finished="finished" in info,
        seconds=sum(row.get("seconds", 0.0) for row in log) if log else None,
        log=log,
        tests=tests,
        unreadable=unreadable if trained else 0,
        damaged=(read(folder / "damaged.csv", _count_rows, problems) or 0) if trained else 0,
        missing=info.get("missing", 0),
        problems=problems,
    )
    run.warnings.extend(_warnings(run))
    return run


def _recipe(path: Path) -> dict[str, Any]:
    value = json.loads(json.dumps(read_yaml(path), default=str))
    sections = ("data", "model", "clip", "optim", "run")
    if not isinstance(value, dict) or not all(isinstance(value.get(name, {}), dict) for name in sections):
        raise ValueError("not a recipe")
    return value


def _log(path: Path) -> list[dict[str, float]]:
    """Return the numbers of each epoch, by column."""
    rows = [{column: float(text) for column, text in row.items() if text != ""} for row in read_log(path)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def _count_rows(path: Path) -> int:
    """Return the number of rows of a csv, without its header."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return max(0, sum(1 for row in csv.reader(file) if row) - 1)


def _warnings(run: Run) -> Iterator[Remark]:
    place = shlex.quote(printable(run.folder))
    unfinished = run.trained and not run.finished
    if unfinished:
        yield Remark(
            f"unfinished, {run.epochs} of {run.epochs_planned or '?'} epochs", f"teinet train --resume {place}"
        )
    if not run.tests:
        can = (run.folder / LAST).is_file() and not unfinished
        yield Remark("not tested", f"teinet test {place}" if can else "")
    if run.unreadable:
        yield Remark(f"{count(run.unreadable, 'clip')} could not be read in training or validation (unreadable.csv)")
    if run.damaged:
        yield Remark(f"{count(run.damaged, 'damaged file')} used in training or validation (damaged.csv)")
    if run.missing:
        yield Remark(f"{count(run.missing, 'clip')} missing and left out (missing.csv)")
    for test in run.tests:
        if test.trained_on:
            of = count(test.clips, "clip")
            yield Remark(f"{test.name}: this network was trained on {test.trained_on} of these {of}")
        if test.unreadable:
            yield Remark(f"{test.name}: {count(test.unreadable, 'clip')} could not be read and counted as wrong")
        if test.damaged:
            yield Remark(f"{test.name}: {count(test.damaged, 'damaged file')} used ({test.name}/damaged.csv)")
    yield from _other_weights(run)


def _other_weights(run: Run) -> Iterator[Remark]:
    """Yield warnings on tests whose scores are not of the run's current last weights."""
    sha256 = lru_cache(digest)  # several tests are of the same weights
    for test in run.tests:
        for weights in test.weights:
            own = run.trained and not test.members
            file = Path(str(weights["path"]))
            file = run.folder / file.name if own else file  # the run may have been moved since
            what = printable(file.name if own else file)
            if weights["sha256"] and read(file, sha256, run.problems) not in (None, weights["sha256"]):
                yield Remark(f"{test.name}: {what} has changed since this test; test again")
            if own and file.name != LAST:
                yield Remark(f"{test.name}: scores of {what}, not of {LAST}")
