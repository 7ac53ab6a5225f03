"""The runs that a user means by folders: runs, ensembles, tested weights, or folders that hold such."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from teinet.errors import ConfigError, nearest
from teinet.evaluation.scores import SCORES
from teinet.training.run_dir import FACTS, RECIPE
from teinet.utils.text import natural, printable

METRICS = "metrics.json"
_DEPTH = 2  # runs/ and runs/group/ are looked through; deeper ones may be clips by the hundred thousand


def find_runs(names: Iterable[str | Path]) -> list[Path]:
    """Expand folders, each run once; names keep their order, what a folder holds comes in natural order.

    Args:
        names: folders that `teinet train` or `teinet test` wrote, or folders of such.

    Raises:
        ConfigError: a folder that does not exist, or holds no run.
    """
    found: dict[str, Path] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            raise ConfigError(f"{name} is a file; name the run's folder, {path.parent}")
        if not path.is_dir():
            beside = [p.name for p in path.absolute().parent.glob("*")]
            raise ConfigError(f"{name}: no such folder.{nearest(path.name, beside)}")
        runs = [path] if is_run(path) else list(_inside(path, _DEPTH))
        if not runs:
            raise ConfigError(
                f"{name} holds no run; name a folder that `teinet train` or `teinet test` wrote, or one that holds such"
            )
        for run in runs:
            found.setdefault(os.path.realpath(run), run)
    return list(found.values())


def is_run(folder: Path) -> bool:
    """Whether a folder is to be reported: trained, or a test of its own, or weights beside their tests."""
    if any((folder / name).is_file() for name in (RECIPE, FACTS)) or is_test(folder):
        return True
    weights = any(path.name != SCORES for path in folder.glob("*.safetensors"))
    return weights and any(True for _ in tests_in(folder))


def is_test(folder: Path) -> bool:
    """Whether a folder holds the results of a test, of one network or of several together."""
    return (folder / METRICS).is_file() or (folder / SCORES).is_file()


def tests_in(folder: Path) -> Iterator[Path]:
    """The tests that lie in a folder, in natural order."""
    yield from filter(is_test, _folders(folder))


def short_names(folders: Sequence[Path]) -> list[str]:
    """A name for each: its own, or where two have the same, the path from their common folder on."""
    whole = [Path(os.path.abspath(folder)) for folder in folders]
    root = os.path.commonpath(whole) if len(whole) > 1 else ""
    own = [path.name or str(path) for path in whole]
    names = [name if own.count(name) == 1 else os.path.relpath(path, root) for name, path in zip(own, whole)]
    return [printable(name) for name in names]


def _inside(folder: Path, depth: int) -> Iterator[Path]:
    for inner in _folders(folder):
        if is_run(inner):
            yield inner
        elif depth > 1:
            yield from _inside(inner, depth - 1)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names, key=natural)]
