"""One test as it lies on disk: its numbers, what they were measured on, and the printed rows that it repeats."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from teinet.data.views import Views
from teinet.evaluation.published import Published, comparable, cost
from teinet.evaluation.scores import SCORES, Scores
from teinet.report.find import METRICS, short_names
from teinet.report.run_files import NUMBER, Kinds, json_object, read, typed
from teinet.utils.text import printable

_KINDS: Kinds = {
    **dict.fromkeys(("top1", "top5", "mean_class_accuracy", "gflops"), NUMBER),
    **dict.fromkeys(("top5_k", "num_clips", "num_unreadable", "missing", "parameters"), int),
    **dict.fromkeys(("views", "averaging", "split", "network", "weights", "weights_sha256"), str),
    **dict.fromkeys(("data", "recipe"), dict),
    "members": list,
}


@dataclass(frozen=True)
class Of:
    """Weights that a test's scores came from: the file as it was named then, and its SHA-256 where it was noted."""

    path: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """A row that a paper printed, and measured minus printed in points; None where one of the two is not known."""

    published: Published
    top1_difference: float | None
    top5_difference: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One test of one network, or of several together.

    Args:
        name: its folder's.
        top1, top5, mean_class_accuracy: shares, 0 to 1; None where nothing was measured, top5 also below five classes.
        missing: clips of the list that were not there and were left out.
        gflops: multiply-adds of one view in billions; of an ensemble the sum.
        data: fingerprint of its clips.
        weights: whose scores these are, one for each network.
        members: names of the networks of an ensemble.
        published: the printed rows that it repeats.
        classes: the accuracy of each class that has clips.
        confusion: the picture, where it lies there whole.
    """

    name: str
    top1: float | None
    top5: float | None
    mean_class_accuracy: float | None
    clips: int
    unreadable: int
    missing: int | None
    views: str
    averaging: str
    split: str
    network: str | None
    parameters: int | None
    gflops: float | None
    data: dict[str, Any]
    weights: list[Of] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    published: list[PrintedRow] = field(default_factory=list)
    classes: dict[str, float] = field(default_factory=dict)
    confusion: Path | None = None

    @property
    def title(self) -> str:
        """The test's name, and of an ensemble whose."""
        return f"{self.name} ({' + '.join(self.members)})" if self.members else self.name

    @property
    def cost(self) -> str:
        """GFLOPs of a view and the number of views."""
        return cost(self.gflops, len(Views.parse(self.views)))

    @property
    def protocol(self) -> tuple[str, ...]:
        """What must be alike in two tests whose figures are compared."""
        return self.views, self.averaging, self.split

    @property
    def key(self) -> tuple[str, ...]:
        """By which runs of one recipe find the test that they share."""
        return (self.name, *self.protocol, *(Path(of.path).name for of in self.weights if not self.members))


def printed_rows(published: Sequence[Published], top1: float | None, top5: float | None) -> list[PrintedRow]:
    """Return each printed row with its differences from measured shares, 0 to 1."""
    return [
        PrintedRow(published=p, top1_difference=_points(top1, p.top1), top5_difference=_points(top5, p.top5))
        for p in published
    ]


def read_outcome(folder: Path, problems: list[str], recipe: dict[str, Any]) -> Outcome | None:
    """Read a test's folder; None where nothing of it can be read. What is damaged is named in `problems`.

    recipe: the run's own, for tests of older versions, which did not note it.
    """
    mine: list[str] = []
    numbers = read(folder / METRICS, _metrics, mine)
    if numbers is None:  # a test writes the scores first
        numbers = read(folder / SCORES, lambda path: Scores.load(path).metrics(), mine)
    outcome = None if numbers is None else _outcome(folder, numbers, mine, recipe)
    problems += [f"{printable(folder.name)}: {problem}" for problem in mine]
    return outcome


def _metrics(path: Path) -> dict[str, Any]:
    numbers = json_object(path)
    if "top1" not in numbers or not isinstance(numbers.get("num_clips"), int):
        raise ValueError("it holds no numbers of a test")
    Views.parse(str(numbers.get("views", "1x1")))
    for name in ("top1", "top5", "mean_class_accuracy"):
        value = numbers.get(name)
        if isinstance(value, NUMBER) and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}")
    return numbers


def _outcome(folder: Path, numbers: dict[str, Any], problems: list[str], recipe: dict[str, Any]) -> Outcome:
    known = typed(numbers, _KINDS, METRICS, problems)
    members = [member for member in known.get("members", []) if isinstance(member, dict)]
    each = [typed(member, _KINDS, METRICS, problems) for member in members] or [known]
    networks = [str(one["network"]) for one in each if "network" in one]
    top1, top5 = known.get("top1"), known.get("top5") if known.get("top5_k") == 5 else None
    return Outcome(
        name=printable(folder.name),
        top1=top1,
        top5=top5,
        mean_class_accuracy=known.get("mean_class_accuracy"),
        clips=known.get("num_clips", 0),
        unreadable=known.get("num_unreadable", 0),
        missing=known.get("missing"),
        views=str(Views.parse(known.get("views", "1x1"))),
        averaging=known.get("averaging", ""),
        split=known.get("split", ""),
        network=" + ".join(dict.fromkeys(networks)) or None,
        parameters=_sum(one.get("parameters") for one in each),
        gflops=_sum(one.get("gflops") for one in each),
        data=known.get("data", {}),
        weights=[Of(one["weights"], one.get("weights_sha256")) for one in each if "weights" in one],
        members=short_names([Path(str(member.get("name", "?"))) for member in members]),
        published=printed_rows(_published(known, each, bool(members), recipe, problems), top1, top5),
        classes=read(folder / "per_class.csv", _classes, problems) or {},
        confusion=read(folder / "confusion.png", _picture, problems),
    )


def _published(
    known: dict[str, Any], each: Sequence[dict[str, Any]], ensemble: bool, recipe: dict[str, Any], problems: list[str]
) -> list[Published]:
    """The printed rows that a test repeats; none for training clips, which no table reports."""
    recipes = [one.get("recipe") or ({} if ensemble else recipe) for one in each]
    rows = [p for told in recipes for p in Published.from_header(told.get("published"))]
    good = [p for p in rows if _is_sound(p)]
    if len(good) < len(rows):
        problems.append("the recipe's published rows are damaged (figures that are no numbers)")
    if known.get("split") == "train":
        return []
    members = [str(told.get("row")) for told in recipes] if ensemble else []
    unique = {(p.table, p.row): p for p in good}
    return comparable(list(unique.values()), views=known.get("views", "1x1"), members=members)


def _is_sound(p: Published) -> bool:
    figures = all(f is None or isinstance(f, NUMBER) for f in (p.top1, p.top5, p.test, p.gflops))
    texts = all(isinstance(t, str) for t in (p.table, p.row, p.views, p.note))
    return figures and texts and isinstance(p.ensemble, list) and re.match(r"\d+x\d+(/|$)", p.views) is not None


def _points(measured: float | None, printed: float | None) -> float | None:
    return None if measured is None or printed is None else 100 * measured - printed


def _sum(values: Iterable[float | int | None]) -> Any:
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)


def _classes(path: Path) -> dict[str, float]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [(printable(row["class"]), int(row["clips"]), row["accuracy"]) for row in csv.DictReader(file)]
    except (KeyError, TypeError):
        raise ValueError("it holds no classes with clips and accuracy") from None
    return {name: float(accuracy) for name, _, accuracy in rows if accuracy}


def _picture(path: Path) -> Path:
    with Image.open(path) as image:
        image.verify()
    return path
