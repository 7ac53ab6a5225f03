"""The scores of one test, clip by clip, and its metrics; an unreadable clip has no scores and counts as wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from teinet.errors import CheckpointError, ConfigError
from teinet.utils.files import replacing, write_csv, write_findings, write_text
from teinet.utils.tables import plain_table
from teinet.utils.text import percent


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """A network's class probabilities of each clip of a test set.

    Args:
        paths, names: of the N clips; names are ids of the data set, empty if it has none.
        labels: (N,) true classes, 0 to C-1; -1 if unknown.
        probabilities: (N, C) from 0 to 1, averaged over views; rows of unreadable clips are ignored.
        class_names: C names, in the order of the columns.
        reasons: N strings, why a clip could not be read, empty for readable clips; () if all are readable.
        damages: N strings, which frames of a readable clip's file are lost or damaged; () if none.
        meta: how the scores were made (views, averaging, weights file, data fingerprint, versions), as JSON values.

    Raises:
        ConfigError: lengths, shapes or labels that do not match.
    """

    paths: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray
    class_names: Sequence[str]
    reasons: Sequence[str] = ()
    damages: Sequence[str] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()

    def __post_init__(self):
        n = len(self.paths)
        labels = np.asarray(self.labels, dtype=np.int64).reshape(-1)
        probabilities = np.array(self.probabilities, dtype=np.float32)
        reasons, damages = ([str(t or "") for t in texts or ()] or [""] * n for texts in (self.reasons, self.damages))
        names = tuple(str(name) for name in self.class_names)
        if n == 0 and probabilities.size == 0:
            probabilities = probabilities.reshape(0, len(names))
        if probabilities.shape != (n, len(names)):
            raise ConfigError(f"scores have shape {probabilities.shape}; {n} clips and {len(names)} class names given")
        if len(self.names) not in (0, n):
            raise ConfigError(f"{n} clips, but {len(self.names)} names")
        if not len(labels) == len(reasons) == len(damages) == n:
            raise ConfigError(f"{n} clips, but {len(labels)} labels, {len(reasons)} reasons, {len(damages)} damages")
        if n and not (labels.min() >= -1 and labels.max() < len(names)):
            raise ConfigError(f"labels go from {labels.min()} to {labels.max()}; there are {len(names)} classes")
        for row in np.flatnonzero(~np.isfinite(probabilities).all(axis=1)):
            reasons[row] = reasons[row] or "the network's scores are not finite"
        probabilities[[reason != "" for reason in reasons]] = 0
        values = {"paths": tuple(str(path) for path in self.paths), "labels": labels, "probabilities": probabilities}
        values |= {"class_names": names, "reasons": tuple(reasons), "names": tuple(self.names)}
        values["damages"] = tuple(damages)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        bad = f", {self.num_unreadable} unreadable" if self.num_unreadable else ""
        return f"Scores({len(self)} clips, {len(self.class_names)} classes{bad}, top-1 {percent(self.top1)})"

    @cached_property
    def readable(self) -> np.ndarray:
        """(N,) true where the clip was read and scored."""
        return np.array([reason == "" for reason in self.reasons], dtype=bool)

    @property
    def num_unreadable(self) -> int:
        """The number of clips without scores: unreadable, or with scores that are not finite."""
        return int((~self.readable).sum())

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """The files of readable clips that lack frames, each once, with their damage."""
        return list({path: damage for path, damage in zip(self.paths, self.damages) if damage}.items())

    @cached_property
    def predictions(self) -> np.ndarray:
        """(N,) the class with the highest score, -1 for an unreadable clip."""
        return np.where(self.readable, self.probabilities.argmax(axis=1), -1)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(N,) rank of the true class from 1 (best), ties in order of class; 0 if unreadable or unlabeled."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        place = (order == self.labels[:, None]).argmax(axis=1) + 1
        return np.where(self.readable & (self.labels >= 0), place, 0)

    def top(self, k: int) -> float:
        """Return top-k accuracy over the labeled clips, 0 to 1; NaN if no clip has a label."""
        known = self.labels >= 0
        hits = (self.ranks > 0) & (self.ranks <= k)
        return float(hits[known].mean()) if known.any() else float("nan")

    @property
    def top1(self) -> float:
        """Top-1 accuracy over the labeled clips, 0 to 1; NaN if no clip has a label."""
        return self.top(1)

    @property
    def top5_k(self) -> int:
        """The k of "top-5": 5, or the number of classes if there are fewer."""
        return min(5, len(self.class_names))

    @property
    def top5(self) -> float:
        """Top-5 accuracy (with k of `top5_k`) over the labeled clips, 0 to 1; NaN if no clip has a label."""
        return self.top(self.top5_k)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """(C,) labeled clips of each class, unreadable ones included."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.class_names))

    @cached_property
    def class_accuracy(self) -> np.ndarray:
        """(C,) accuracy of each class, 0 to 1; NaN for a class without clips."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.diagonal(self.confusion) / self.class_counts

    @property
    def mean_class_accuracy(self) -> float:
        """The mean of `class_accuracy` over the classes that have clips; NaN if none has."""
        present = self.class_counts > 0
        return float(self.class_accuracy[present].mean()) if present.any() else float("nan")

    @cached_property
    def confusion(self) -> np.ndarray:
        """(C, C) counts, rows true, columns predicted, without unreadable clips."""
        count = len(self.class_names)
        use = self.readable & (self.labels >= 0)
        cell = self.labels[use] * count + self.predictions[use]
        return np.bincount(cell, minlength=count * count).reshape(count, count)

    def confused_pairs(self, most: int = 10) -> list[tuple[str, str, int, float]]:
        """Return the most frequent confusions: (true name, predicted name, clips, share of the true class's clips)."""
        wrong = self.confusion - np.diag(np.diagonal(self.confusion))
        order: list[int] = np.argsort(-wrong, axis=None, kind="stable")[:most].tolist()
        cells = [divmod(flat, wrong.shape[1]) for flat in order]
        return [
            (self.class_names[i], self.class_names[j], int(wrong[i, j]), float(wrong[i, j] / self.class_counts[i]))
            for i, j in cells
            if wrong[i, j] > 0
        ]

    def metrics(self) -> dict[str, Any]:
        """Return all metrics of the test, and `meta`, as JSON values (NaN becomes None)."""
        numbers = {"top1": self.top1, "top5": self.top5, "mean_class_accuracy": self.mean_class_accuracy}
        return {
            **{name: None if np.isnan(value) else value for name, value in numbers.items()},
            "top5_k": self.top5_k,
            "num_clips": len(self),
            "num_labeled": int((self.labels >= 0).sum()),
            "num_unreadable": self.num_unreadable,
            "num_damaged": len(self.damaged),
            "num_classes": len(self.class_names),
            **self.meta,
        }

    def save(self, folder: str | Path, image: bool = True) -> Path:
        """Write the test's files: scores.safetensors, metrics.json, confusion.png; clips, classes and bad files as csv.

        The scores come first, so that they are kept if a later file fails; `metrics.json` says that all are there.
        Returns the folder.

        Raises:
            OSError: a file cannot be written.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        header = {"format": 1} | {name: getattr(self, name) for name in _TEXTS}
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ("labels", "probabilities")}
        with replacing(folder / SCORES) as part:
            part.write_bytes(save(arrays, metadata={_KEY: json.dumps(header, default=str)}))
        write_csv(folder / "clips.csv", CLIP_COLUMNS, clip_rows(self))
        classes = zip(self.class_names, self.class_counts, map(_number, self.class_accuracy))
        write_csv(folder / "per_class.csv", ("class", "clips", "accuracy"), classes)
        unreadable = [(path, reason) for path, reason in zip(self.paths, self.reasons) if reason]
        for name, rows in (("unreadable.csv", unreadable), ("damaged.csv", self.damaged)):
            write_findings(folder / name, ("path", "reason"), rows)
        if image:
            from teinet.evaluation.plots import save_confusion

            save_confusion(self.confusion, self.class_names, folder / "confusion.png")
        numbers = json.dumps(self.metrics(), indent=2, ensure_ascii=False, default=str)
        write_text(folder / METRICS, numbers + "\n", errors="strict")
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read scores back from a test's folder or from its `scores.safetensors`.

        Raises:
            CheckpointError: the file is missing, truncated, or has other content.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path) / SCORES if Path(path).is_dir() else Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; `teinet test` writes it")
        try:
            with safe_open(path, framework="np") as file:
                header = {"names": (), "damages": ()} | json.loads((file.metadata() or {})[_KEY])
                texts = {name: header[name] for name in _TEXTS}
                arrays = {name: file.get_tensor(name) for name in ("labels", "probabilities")}
        except (KeyError, TypeError):
            raise CheckpointError(f"{path}: not a file of scores; name one that `teinet test` wrote") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error})") from None
        return cls(**arrays, **texts)


SCORES, METRICS = "scores.safetensors", "metrics.json"
_KEY = "teinet_scores"
_TEXTS = ("paths", "class_names", "reasons", "damages", "meta", "names")
CLIP_COLUMNS = ("path", "label", "prediction", "probability", "rank", "readable", "reason")


def clip_rows(scores: Scores) -> Iterable[tuple]:
    """Yield one row for each clip, as `CLIP_COLUMNS` names them; `rank` is that of the true class, from 1."""
    for row, path in enumerate(scores.paths):
        label, predicted = scores.labels[row], scores.predictions[row]
        yield (
            path,
            scores.class_names[label] if label >= 0 else "",
            scores.class_names[predicted] if predicted >= 0 else "",
            _number(scores.probabilities[row, predicted]) if predicted >= 0 else "",
            scores.ranks[row] or "",
            "yes" if scores.readable[row] else "no",
            scores.reasons[row],
        )


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def tables(scores: Scores, title: str = "test", most_classes: int = 10) -> list[Table]:
    """Return the accuracies, then tables of the worst classes, confusions and bad files, without empty ones."""
    unreadable = [(path, reason) for path, reason in zip(scores.paths, scores.reasons) if reason]
    bad = (_file_table("clip", "unreadable", unreadable), _file_table("file", "damaged", scores.damaged))
    found = (_class_table(scores, most_classes), _confusion_table(scores), *bad)
    return [_summary_table(scores, title), *(table for table in found if table.row_count)]


def _summary_table(scores: Scores, title: str) -> Table:
    table = plain_table("", " ", text=[""], title=title, show_header=False)
    table.columns[0].style = "dim"
    table.add_row("top-1", Text(percent(scores.top1), style="bold"))
    if len(scores.class_names) > 5:
        table.add_row("top-5", percent(scores.top5))
    table.add_row("mean class accuracy", percent(scores.mean_class_accuracy))
    clips = Text(str(len(scores)))
    if unlabeled := int((scores.labels < 0).sum()):
        clips.append(f", {unlabeled} unlabeled")
    if bad := scores.num_unreadable:
        clips.append(f", {bad} unreadable (counted as wrong)", style="bold red")
    if damaged := len(scores.damaged):
        clips.append(f", {damaged} damaged file{'s' if damaged > 1 else ''} (used)", style="yellow")
    table.add_row("clips", clips)
    return table


def _class_table(scores: Scores, most: int) -> Table:
    present = np.flatnonzero(scores.class_counts > 0)
    order = present[np.argsort(scores.class_accuracy[present], kind="stable")][:most]
    shown = f"worst {len(order)} of {len(present)} classes (all in per_class.csv)"
    title = "classes" if len(order) == len(present) else shown
    table = plain_table("class", "clips", "accuracy", "", text=["class", ""], title=title)
    for label in map(int, order):
        accuracy = float(scores.class_accuracy[label])
        # Text: names such as "Pushing [something]" would be read as markup
        row = (Text(scores.class_names[label]), str(scores.class_counts[label]), percent(accuracy))
        table.add_row(*row, Text(bar(accuracy), style="cyan"))
    return table


def _confusion_table(scores: Scores) -> Table:
    names = ("true class", "predicted class")
    table = plain_table(*names, "clips", "of class", text=names, title="most frequent confusions")
    for true, predicted, count, share in scores.confused_pairs():
        table.add_row(Text(true), Text(predicted), str(count), percent(share))
    return table


def _file_table(what: str, state: str, files: Sequence[tuple[str, str]], most: int = 20) -> Table:
    shown = "" if len(files) <= most else f", first {most} of {len(files)} (all in {state}.csv)"
    table = plain_table(what, "reason", text=(what, "reason"), title=f"{state} {what}s{shown}")
    for row in files[:most]:
        table.add_row(*map(Text, row))
    return table


def bar(share: float, width: int = 20) -> str:
    """Return a share (0 to 1) as a bar of up to `width` characters, to an eighth of a character."""
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
