"""A run's files, read so that a damaged one is a line of the report and not its end."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from teinet.errors import TeinetError
from teinet.training.callbacks import EpochLog
from teinet.training.run_dir import read_log

T = TypeVar("T")
Kinds = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)
_SECTIONS = ("data", "model", "clip", "optim", "run")
_DAMAGE = (OSError, ValueError, SyntaxError, RecursionError, yaml.YAMLError, csv.Error, TeinetError)


def read(path: Path, reader: Callable[[Path], T], problems: list[str]) -> T | None:
    """Return what `reader` makes of a file; None where there is none, or it is damaged, which `problems` then says."""
    try:
        return reader(path) if path.is_file() else None
    except _DAMAGE as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problems.append(f"{path.name} is damaged ({' '.join(said.split())})")
        return None


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object, or raise ValueError."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def recipe(path: Path) -> dict[str, Any]:
    """Read a run's recipe.yaml as plain values, or raise ValueError or YAMLError."""
    try:
        value = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str))
    except TypeError:
        raise ValueError("it holds no recipe") from None
    if not isinstance(value, dict) or not all(isinstance(value.get(section, {}), dict) for section in _SECTIONS):
        raise ValueError("it holds no recipe")
    return value


def log(path: Path) -> list[dict[str, float]]:
    """Read the numbers of each epoch in a run's log.csv, by column, or raise ValueError, which names the line."""
    rows, logged = [], read_log(path)
    if not logged and "epoch" not in path.read_text(encoding="utf-8"):  # a run stopped early has the header alone
        raise ValueError("it is no log")
    for number, row in enumerate(logged, start=2):
        try:
            values = {c: float(text) for c, text in row.items() if c in EpochLog.COLUMNS and text != ""}
            values = {c: value for c, value in values.items() if math.isfinite(value)}
            values["epoch"] = int(values["epoch"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"line {number} is no row of numbers") from None
        rows.append(values)
    return rows


def count_rows(path: Path) -> int:
    """Count the rows of a csv below its header."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return max(0, sum(1 for row in csv.reader(file) if row) - 1)


def typed(values: Mapping[str, Any], kinds: Kinds, name: str, problems: list[str]) -> dict[str, Any]:
    """Return the values that are of the kind that they must be; others are left out, and `problems` names them."""
    kept = {}
    for key, kind in kinds.items():
        value = values.get(key)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if isinstance(value, kind) and not isinstance(value, bool):
            kept[key] = value
        else:
            problems.append(f"{name} is damaged ({key} is {repr(value)[:60]})")
    return kept
