"""What cells measured: a file for each study, RESULTS/STUDY.jsonl, a line for each cell, read as tables want it.

The clips that a cell was tested on stand in a line of their own, by a hash that the cells' lines name: the cells of a
fold share them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.study.plan import Cell, Study
from benchmarks.study.statistics import (
    Difference,
    Mean,
    calibration_error,
    calibration_floor,
    difference_over_folds,
    mean,
    paired_difference,
)
from teinet.errors import ConfigError

log = logging.getLogger("teinet")


class Cluster(NamedTuple):
    """Clips that fail together, such as those of one recording: how many, and of each network the share right."""

    name: str
    clips: int
    right: dict[str, float]

    @property
    def errors(self) -> float:
        """Clips named wrongly, in the mean over the networks that saw them."""
        return self.clips * (1 - float(np.nanmean(list(self.right.values()))))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; what a network has not seen is None."""
        right = {network: None if np.isnan(share) else share for network, share in self.right.items()}
        return {"name": self.name, "clips": self.clips, "errors": self.errors, "right": right}


@dataclass(frozen=True, eq=False)
class Done:
    """The study, and what each finished cell measured; cells of other settings than the study's are left out."""

    study: Study
    cells: dict[Cell, dict[str, Any]]

    @classmethod
    def load(cls, study: Study, results: str | Path) -> Done:
        """Read RESULTS/STUDY.jsonl.

        Raises:
            ConfigError: a line there that is no result.
        """
        cells = {}
        for cell in study.cells():
            result = read_result(study, cell, results)
            if result is not None:
                cells[cell] = result
        _refuse_mixed(study, cells)
        return cls(study, cells)

    def of(self, network: str) -> dict[tuple[str, int], dict[str, Any]]:
        """A network's results by (fold, seed)."""
        return {(c.fold, c.seed): r for c, r in self.cells.items() if c.network == network}

    def mean(self, network: str, test: str = "test") -> Mean:
        """A network's top-1 over folds and seeds; of "test", or of "backwards"."""
        return mean({key: result[test]["top1"] for key, result in self.of(network).items() if result.get(test)})

    def right(self, network: str, among: set[tuple[str, int]]) -> dict[str, float]:
        """For each clip the share of cells (of `among`) in which it was recognized correctly."""
        said: dict[str, list[bool]] = {}
        for key, result in self.of(network).items():
            if key in among:
                for clip, label, predicted in zip(result["clips"], result["labels"], result["test"]["predicted"]):
                    said.setdefault(clip, []).append(label == predicted)
        return {clip: float(np.mean(values)) for clip, values in said.items()}

    def difference(self, network: str, reference: str) -> Difference | None:
        """Clip by clip, over the folds and seeds that both have; None where there are none."""
        common = set(self.of(network)) & set(self.of(reference))
        if not common or network == reference:
            return None
        ours, theirs = self.right(network, common), self.right(reference, common)
        clips = [clip for clip in ours if clip in theirs]
        groups = self.groups
        return paired_difference(
            np.array([ours[c] for c in clips]), np.array([theirs[c] for c in clips]), [groups.get(c, c) for c in clips]
        )

    @cached_property
    def groups(self) -> dict[str, str]:
        """The cluster of each clip."""
        return {clip: group for r in self.cells.values() for clip, group in zip(r["clips"], r["clusters"])}

    def folds(self, network: str) -> dict[str, float]:
        """Its top-1 in each fold that is done, in the mean over seeds."""
        return {fold: mean(cells).value for fold, cells in self._by_fold(network).items()}

    def over_folds(self, network: str, reference: str) -> tuple[float, float, float] | None:
        """The lead over the reference in the mean of folds and its 95 % interval, by folds and seeds that both have."""
        ours, theirs = self._by_fold(network), self._by_fold(reference)
        both = [
            (ours[fold], theirs[fold], sorted(set(ours[fold]) & set(theirs[fold]))) for fold in ours if fold in theirs
        ]
        pairs = [[mean({key: top1[key] for key in keys}).value for top1 in (a, b)] for a, b, keys in both if keys]
        return difference_over_folds(*zip(*pairs)) if pairs and network != reference else None

    def _by_fold(self, network: str) -> dict[str, dict[tuple[str, int], float]]:
        found: dict[str, dict[tuple[str, int], float]] = {}
        for (fold, seed), result in self.of(network).items():
            found.setdefault(fold, {})[fold, seed] = result["test"]["top1"]
        return found

    def reversals(self, network: str, pair: tuple[str, str] | None = None) -> tuple[float, float, int] | None:
        """Of clips of classes that are each other played backwards: share correct, share predicted as the other, count.

        Args:
            network: whose cells.
            pair: one of the study's reversals; None takes all.
        """
        pairs = self.study.reversals if pair is None else (pair,)
        partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        right = swapped = count = 0
        for result in self.of(network).values():
            names = result["class_names"]
            for label, predicted in zip(result["labels"], result["test"]["predicted"]):
                if names[label] in partner:
                    count += 1
                    right += label == predicted
                    swapped += predicted >= 0 and names[predicted] == partner[names[label]]
        return (right / count, swapped / count, count) if count else None

    def calibration(self, network: str) -> float | None:
        """Expected calibration error over all its test clips."""
        sure = self.confidence(network)
        return None if sure is None else calibration_error(*sure)

    def calibration_floor(self, network: str) -> float | None:
        """The error that probabilities which are exactly true would have on as many clips."""
        sure = self.confidence(network)
        return None if sure is None else calibration_floor(sure[0])

    def confidence(self, network: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Of all test clips the probability of the class named (N,), and whether it was right (N,); None for none."""
        results = list(self.of(network).values())
        if not results:
            return None
        confidence = np.concatenate([r["test"]["confidence"] for r in results])
        return confidence, np.concatenate([np.equal(r["labels"], r["test"]["predicted"]) for r in results])

    def clusters(self) -> list[Cluster]:
        """Every cluster of clips, those with the most errors first; what a network has not seen yet is nan."""
        right = {network: self.right(network, set(self.of(network))) for network in self.study.networks}
        members: dict[str, list[str]] = {}
        for clip, group in self.groups.items():
            members.setdefault(group, []).append(clip)
        found = []
        for name, clips in members.items():
            shares = {n: [of[c] for c in clips if c in of] for n, of in right.items()}
            found.append(Cluster(name, len(clips), {n: float(np.mean(v)) if v else np.nan for n, v in shares.items()}))
        return sorted(found, key=lambda c: (-c.errors, c.name))

    def curve(self, network: str) -> list[dict[str, float]]:
        """Its learning curve: the mean over cells, epoch by epoch."""
        results = list(self.of(network).values())
        if not results:
            return []
        rows = []
        for i in range(min(len(r["curve"]["epoch"]) for r in results)):
            row = {}
            for name in results[0]["curve"]:
                values = [r["curve"][name][i] for r in results if r["curve"][name][i] is not None]
                row[name] = float(np.mean(values)) if values else ""
            rows.append(row)
        return rows


def _refuse_mixed(study: Study, cells: dict[Cell, dict[str, Any]]) -> None:
    """ConfigError where cells that a table would compare were measured on other clips, or began from other weights.

    Trained weights to start from may be chosen for each fold, so there it is seeds that must agree.
    """
    first: dict[tuple[str, str], tuple[Cell, Any]] = {}
    for cell, result in cells.items():
        for what, group in (("data", cell.fold), ("backbone_weights", ""), ("weights", f"{cell.network}/{cell.fold}")):
            if (value := result.get(what)) is None:
                continue
            other, known = first.setdefault((what, group), (cell, value))
            if known != value:
                raise ConfigError(
                    f"{study.file}: cells {other} and {cell} differ in {what}; remove the line of one of them from "
                    "the results, and it is run again"
                )


_CLIPS = ("clips", "clusters", "labels", "class_names")


def results_file(results: str | Path, study: Study) -> Path:
    """The folders of a study's results."""
    return Path(results) / f"{study.name}.jsonl"


def append(path: Path, result: dict[str, Any]) -> None:
    """Add a cell's line, before it that of its clips where the file does not hold it yet."""
    clips = {name: result[name] for name in _CLIPS}
    key = hashlib.sha256(json.dumps(clips).encode()).hexdigest()[:12]
    lines = [{name: value for name, value in result.items() if name not in _CLIPS} | {"clips": key}]
    if not path.is_file() or f'"key": "{key}"' not in path.read_text(encoding="utf-8"):
        lines.insert(0, {"key": key, **clips})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:  # one write: several cells end at a time
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """The latest line of each cell, with its clips; empty where there is no file.

    Raises:
        ConfigError: a line that is no result.
    """
    if not path.is_file():
        return {}
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, modified: int, size: int) -> dict[str, dict[str, Any]]:
    clips, found = {}, {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            if "key" in line:
                clips[line.pop("key")] = line
            else:
                found[line["cell"]] = line | clips[line["clips"]]
        except (ValueError, KeyError, TypeError):
            reason = "no result of a study; remove it, and run its cell again"
            raise ConfigError(f"{path}, line {number}: {reason}") from None
    return found


def read_result(study: Study, cell: Cell, results: str | Path) -> dict[str, Any] | None:
    """A cell's result; None where it is not done, or was measured with other settings (which is said).

    A cell that is the same in the study that this one extends is measured once: its result there is the result here.

    Raises:
        ConfigError: a line that is no result.
    """
    path = results_file(results, study)
    result = read_results(path).get(str(cell))
    if result is None:
        same = study.same_in_base(cell)
        return None if study.base is None or same is None else read_result(study.base, same, results)
    if result["settings"] != study.digest(cell):
        log.warning("%s, %s: measured with other settings than %s now names; not done", path, cell, study.address)
        return None
    return result
