"""One cell of a study: trained, tested, tested backwards, and what is kept of it: a line of the study's results."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.study.plan import Cell, Study
from benchmarks.study.results import append, results_file
from teinet.data.lists.rows import ClipList
from teinet.data.lists.splits import load_splits, read_config
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.plan import Plan
from teinet.evaluation.scores import Scores
from teinet.evaluation.testing import test
from teinet.models.header import weights_file
from teinet.training.recipe import Recipe
from teinet.training.run_dir import FACTS, LOG, STATE, alone_in, read_json, read_log
from teinet.training.setup import hardware_of
from teinet.training.trainer import train
from teinet.utils.files import digest
from teinet.utils.machine import machine

_CURVE = ("epoch", "loss", "top1", "val_top1")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Folders and files of this machine, and how it is used.

    Args:
        data_root: the folder of the studies' data.
        work: the folder of runs.
        results: the folder of results.
        backbone_weights: a local file of 2-D weights.
        threads: of each cell, on a CPU.
        workers: decoding processes of each cell; 0 decodes in the cell's own.
    """

    data_root: str = "."
    work: str = "runs/study"
    results: str = "results"
    backbone_weights: str | None = None
    threads: int | None = None
    workers: int | None = None

    def words(self) -> list[str]:
        """The same as options of the command."""
        said = {"--data-root": self.data_root, "--work": self.work, "--results": self.results}
        said |= {"--backbone-weights": self.backbone_weights, "--threads": self.threads, "--workers": self.workers}
        return [word for name, value in said.items() if value is not None for word in (name, str(value))]


def run_cell(study: Study, cell: Cell, where: Where, *, console: Console | None = None) -> Path:
    """Train a cell, or continue with it, test it, and add its line to the study's results; returns that file.

    Args:
        study, cell: what to run.
        where: folders, threads.
        console: where training says what it does.

    Raises:
        TeinetError: see `train` and `test`.
    """
    folder = run_folder(where.work, study, cell)
    recipe = study.recipe_of(cell, data_root=where.data_root, backbone_weights=where.backbone_weights)
    run = replace(recipe.run, output=str(folder.parent), name=folder.name, threads=where.threads, workers=where.workers)
    recipe = replace(recipe, run=run).with_absolute_paths()
    names = _Names(study, recipe)
    resume = (folder / STATE).is_file()
    if not resume and folder.exists():  # it was ended within its first epoch
        with alone_in(folder):
            shutil.rmtree(folder)
    train(recipe, resume=folder if resume else None, console=console)
    began = time.monotonic()
    forwards = _tested(folder, recipe, study.views_of(cell), backwards=False)
    backwards = _tested(folder, recipe, study.views_of(cell), backwards=True) if study.backwards else None
    facts, log, this = read_json(folder / FACTS), read_log(folder / LOG), machine()
    result = {
        "cell": str(cell),
        "settings": study.digest(cell),
        "machine": {name: this[name] for name in ("processor", "cores", "gpus", "date")}
        | {"torch": this["versions"]["torch"]},
        "data": {split: clips["sha256"] for split, clips in facts["data"].items()},
        **{name: digest(path) if path else None for name, path in _starts(recipe).items()},
        "seconds": round(sum(float(row["seconds"]) for row in log) + time.monotonic() - began),
        "curve": {name: [_number(row[name]) for row in log] for name in _CURVE},
        "test": {
            "top1": round(forwards.top1, 6),
            "predicted": forwards.predictions.tolist(),  # -1: unreadable
            "confidence": np.round(forwards.probabilities.max(axis=1), 4).tolist(),
        },
        "backwards": {"top1": round(backwards.top1, 6)} if backwards else None,
        "class_names": list(forwards.class_names),
        **names.of(load_splits(recipe.data)[forwards.meta["split"]]),
        "labels": forwards.labels.tolist(),
    }
    target = results_file(where.results, study)
    append(target, result)
    return target


def run_folder(work: str | Path, study: Study, cell: Cell) -> Path:
    """Where a cell's run is: by its settings' hash too, so that a run of other settings is never continued.

    What the study below trains alike is trained once, and is there.
    """
    same = study.same_in_base(cell, training=True)
    if study.base is not None and same is not None:
        return run_folder(work, study.base, same)
    return Path(work) / study.name / f"{cell.slug}--{study.digest(cell, training=True)}"


def _starts(recipe: Recipe) -> dict[str, Path | None]:
    """The files that training began from."""
    model = recipe.model
    return {
        "backbone_weights": Path(model.backbone_weights) if model.backbone_weights else None,
        "weights": weights_file(model.weights) if model.weights else None,
    }


def _tested(folder: Path, recipe: Recipe, views: Views, *, backwards: bool) -> Scores:
    plan = Plan(
        batch_size=recipe.optim.batch_size,
        workers=recipe.run.workers,
        backwards=backwards,
        views=views,
        hardware=replace(hardware_of(recipe), devices=1),
    )
    return test(folder, plan, reuse=True).scores


class _Names:
    """Of a clip its name, below the list's folder and with its span, and what it is drawn together with.

    Raises:
        ConfigError: the list lacks a column that the study clusters clips by.
    """

    def __init__(self, study: Study, recipe: Recipe):
        home = Path(str(recipe.data.path))
        home = home if home.is_dir() else home.parent
        self._of: dict[tuple, tuple[str, str]] = {}
        for row in read_config(recipe.data).rows:
            below = Path(row.path).is_relative_to(home)
            path = Path(row.path).relative_to(home).as_posix() if below else Path(row.path).name
            name = path if row.start is None else f"{path} {row.start}-{row.end}"
            fields = {"path": path, **row.fields()}
            if missing := [column for column in study.cluster if column not in fields]:
                raise ConfigError(
                    f"{recipe.data.path} has no column {missing[0]!r}, by which {study.file} clusters clips"
                )
            cluster = " / ".join(fields[column] for column in study.cluster) or name
            self._of[row.path, row.start, row.end] = name, cluster

    def of(self, clips: ClipList) -> dict[str, list[str]]:
        """All of a list."""
        known = [self._of[path, *clips.span(i)] for i, path in enumerate(clips.paths)]
        return {"clips": [name for name, _ in known], "clusters": [cluster for _, cluster in known]}


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return None if math.isnan(value) else value
