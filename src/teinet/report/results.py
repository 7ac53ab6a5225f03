"""One test read from disk: its results, their conditions, and the published rows that it reproduces."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from teinet.data.views import Views
from teinet.errors import TeinetError
from teinet.evaluation.published import Published, comparable, cost
from teinet.evaluation.scores import METRICS
from teinet.models.header import Kinds, wrong_value
from teinet.utils.text import printable

T = TypeVar("T")
NUMBER = (int, float)
_KINDS: Kinds = {
    **dict.fromkeys(("top1", "top5", "mean_class_accuracy", "map", "gmacs"), NUMBER),
    **dict.fromkeys(("top5_k", "num_clips", "num_unreadable", "num_damaged", "missing", "trained_on"), int),
    "parameters": int,
    **dict.fromkeys(("views", "averaging", "split", "network", "weights", "weights_sha256"), str),
    **dict.fromkeys(("data", "recipe"), dict),
    "members": list,
}
_PNG, _LARGEST = b"\x89PNG\r\n\x1a\n", 16_000_000  # its first bytes; bytes of an image
_DAMAGE = (OSError, ValueError, TypeError, KeyError, SyntaxError, RecursionError, yaml.YAMLError, csv.Error)


@dataclass(frozen=True, kw_only=True)
class PublishedRow(Published):
    """A published row, with measured minus published in points; None if one of the two is unknown."""

    top1_difference: float | None
    top5_difference: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One test of one network, or of several together.

    Args:
        top1, top5, mean_class_accuracy: 0 to 1; None if not measured, top5 also below five classes.
        map: mean average precision, 0 to 1, of clips with several labels, which have none of those; else None.
        trained_on: how many of its clips trained the network.
        unreadable, damaged: clips that could not be read, and files that were used although they lack frames.
        missing: clips of the list without a file, which were left out.
        parameters, gmacs: summed over an ensemble; GMACs are the multiply-adds of one view in billions.
        data: fingerprint of the clips.
        weights: of each network, the `path` given and its `sha256` or None.
        members: names of the networks of an ensemble, else empty.
        classes: the accuracy of each class that has clips, 0 to 1.
        confusion: the file of the plot.
    """

    name: str
    top1: float | None
    top5: float | None
    mean_class_accuracy: float | None
    map: float | None
    clips: int
    unreadable: int
    damaged: int
    trained_on: int
    missing: int | None
    views: str
    averaging: str
    split: str
    network: str | None
    parameters: int | None
    gmacs: float | None
    data: dict[str, Any]
    weights: list[dict[str, str | None]]
    members: list[str]
    published: list[PublishedRow]
    classes: dict[str, float]
    confusion: Path | None

    @property
    def title(self) -> str:
        """The test's name, with the members of an ensemble."""
        return f"{self.name} ({' + '.join(self.members)})" if self.members else self.name

    @property
    def cost(self) -> str:
        """GMACs of a view and the number of views."""
        return cost(self.gmacs, len(Views.parse(self.views)))

    @property
    def protocol(self) -> tuple[str, ...]:
        """Views, averaging and split, which must be equal in comparable tests."""
        return self.views, self.averaging, self.split


def published_rows(published: Iterable[Published], top1: float | None, top5: float | None) -> list[PublishedRow]:
    """Return each published row with its differences from measured accuracies, 0 to 1."""
    found = []
    for p in published:
        row: dict[str, Any] = dict(vars(p))
        for name, share in (("top1", top1), ("top5", top5)):
            row[f"{name}_difference"] = None if share is None or row[name] is None else 100 * share - row[name]
        found.append(PublishedRow(**row))
    return found


def read(path: Path, reader: Callable[[Path], T], problems: list[str]) -> T | None:
    """Return `reader(path)`, or None if the file is missing or damaged; damage is added to `problems`."""
    try:
        return reader(path) if path.is_file() else None
    except (*_DAMAGE, TeinetError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None) or error
        problems.append(f"{path.name} is damaged ({' '.join(str(reason).split())})")
        return None


def read_object(path: Path, kinds: Kinds) -> dict[str, Any]:
    """Read a JSON object without null and NaN values; ValueError if it is not an object or a value has a wrong type."""
    return typed(json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None), kinds)


def typed(values: Any, kinds: Kinds) -> dict[str, Any]:
    """Return the values that are not None; ValueError if it is not an object or a value has a wrong type."""
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    kept = {key: value for key, value in values.items() if value is not None}
    if wrong := wrong_value(kept, kinds):
        raise ValueError(wrong)
    return kept


def read_outcome(folder: Path, problems: list[str]) -> Outcome | None:
    """Read a test's folder; None if it cannot be read. Damage is added to `problems`."""
    mine: list[str] = []
    outcome = read(folder / METRICS, lambda path: _outcome(folder, read_object(path, _KINDS), mine), mine)
    problems += [f"{printable(folder.name)}: {problem}" for problem in mine]
    return outcome


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder: its own, or for equal names the path relative to the common folder."""
    whole = [Path(os.path.abspath(folder)) for folder in folders]
    root = os.path.commonpath(whole) if len(whole) > 1 else ""
    own = [path.name or str(path) for path in whole]
    names = [name if own.count(name) == 1 else os.path.relpath(path, root) for name, path in zip(own, whole)]
    return [printable(name) for name in names]


def _outcome(folder: Path, values: dict[str, Any], problems: list[str]) -> Outcome:
    known = typed(values, _KINDS)
    for name in ("top1", "top5", "mean_class_accuracy", "map"):
        if not 0 <= known.get(name, 0) <= 1:
            raise ValueError(f"{name} is {known[name]}")
    each = [typed(member, _KINDS) for member in known.get("members", [])] or [known]
    members = short_names([Path(str(one.get("name", "?"))) for one in each]) if "members" in known else []
    networks = [one["network"] for one in each if "network" in one]
    views = Views.parse(known.get("views", "1x1"))
    top1, top5 = known.get("top1"), known.get("top5") if known.get("top5_k") == 5 else None
    return Outcome(
        name=printable(folder.name),
        top1=top1,
        top5=top5,
        mean_class_accuracy=known.get("mean_class_accuracy"),
        map=known.get("map"),
        clips=known["num_clips"],
        unreadable=known.get("num_unreadable", 0),
        damaged=known.get("num_damaged", 0),
        trained_on=max(one.get("trained_on", 0) for one in each),
        missing=known.get("missing"),
        views=str(views),
        averaging=known.get("averaging", ""),
        split=known.get("split", ""),
        network=" + ".join(dict.fromkeys(networks)) or None,
        parameters=_sum([one.get("parameters") for one in each]),
        gmacs=_sum([one.get("gmacs") for one in each]),
        data=known.get("data", {}),
        weights=[{"path": one["weights"], "sha256": one.get("weights_sha256")} for one in each if "weights" in one],
        members=members,
        published=published_rows(_published(known, each), top1, top5),
        classes=(read(folder / "per_class.csv", _classes, problems) or {}) if "average_precision" not in known else {},
        confusion=read(folder / "confusion.png", _image, problems),
    )


def _published(known: dict[str, Any], each: Sequence[dict[str, Any]]) -> list[Published]:
    """Return the published rows that a test reproduces; none for training clips, which papers do not report."""
    if known.get("split") == "train":
        return []
    recipes = [one.get("recipe", {}) for one in each]
    unique = {(p.table, p.row): p for recipe in recipes for p in Published.from_header(recipe.get("published"))}
    members = [str(recipe.get("row")) for recipe in recipes] if "members" in known else []
    return comparable(list(unique.values()), views=known.get("views", "1x1"), members=members)


def _sum(values: Sequence[float | int | None]) -> Any:
    return None if None in values else sum(value for value in values if value is not None)


def _image(path: Path) -> Path:
    """Return the path of a PNG, which a page will hold; ValueError for what may lie or be linked there instead."""
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG or path.stat().st_size > _LARGEST:
            raise ValueError("not an image of a confusion matrix")
    return path


def _classes(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {printable(row["class"]): float(row["accuracy"]) for row in csv.DictReader(file) if row["accuracy"]}
