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
from teinet.evaluation.multi_label import average_precision, best_thresholds
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
        label_sets: (N, C) bool, all true classes of clips with several; None if each has one. `labels` are then their
            first, and have no metrics.
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
    label_sets: np.ndarray | None = None

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
        if self.label_sets is not None and self.label_sets.shape != probabilities.shape:
            raise ConfigError(f"label sets have shape {self.label_sets.shape}, scores {probabilities.shape}")
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
        said = f"{bad}, {self.measure} {percent(self.accuracy)}"
        return f"Scores({len(self)} clips, {len(self.class_names)} classes{said})"

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

    @property
    def measure(self) -> str:
        """The name of `accuracy`: top-1, or mAP of clips with several labels."""
        return "top-1" if self.label_sets is None else "mAP"

    @property
    def accuracy(self) -> float:
        """The share that a test is judged by: `top1`; of clips with several labels, `mean_average_precision`."""
        return self.top1 if self.label_sets is None else self.mean_average_precision

    @cached_property
    def average_precision(self) -> np.ndarray:
        """(C,) average precision of each class, 0 to 1; NaN for one without clips. An unreadable clip comes last."""
        if self.label_sets is None:
            raise ConfigError("average precision is for scores of clips with several labels (data.multi_label)")
        return average_precision(self.label_sets, self.probabilities)

    @property
    def mean_average_precision(self) -> float:
        """The mean of `average_precision` over the classes that have clips; NaN if none has."""
        known = np.isfinite(self.average_precision)
        return float(self.average_precision[known].mean()) if known.any() else float("nan")

    def best_thresholds(self) -> list[float]:
        """Return the threshold of each class with the best F1 on the readable clips; 0.5 for a class without clips."""
        if self.label_sets is None:
            raise ConfigError("thresholds are for scores of clips with several labels (data.multi_label)")
        return best_thresholds(self.label_sets[self.readable], self.probabilities[self.readable])

    def _refuse_several(self) -> None:
        if self.label_sets is not None:
            raise ConfigError("these clips have several labels, so there is no top-1; take mean_average_precision")

    @cached_property
    def ranks(self) -> np.ndarray:
        """(N,) rank of the true class from 1 (best), ties in order of class; 0 if unreadable or unlabeled."""
        self._refuse_several()
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
        if self.label_sets is not None:
            return self.label_sets.sum(0)
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
        self._refuse_several()
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
        if self.label_sets is None:
            numbers = {"top1": self.top1, "top5": self.top5, "mean_class_accuracy": self.mean_class_accuracy}
            found = {name: _json(value) for name, value in numbers.items()} | {"top5_k": self.top5_k}
        else:
            each = {name: _json(value) for name, value in zip(self.class_names, self.average_precision)}
            found = {"map": _json(self.mean_average_precision), "average_precision": each}
        return {
            **found,
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
        if self.label_sets is not None:
            arrays["label_sets"] = self.label_sets.astype(np.uint8)
        with replacing(folder / SCORES) as part:
            part.write_bytes(save(arrays, metadata={_KEY: json.dumps(header, default=str)}))
        write_csv(folder / "clips.csv", CLIP_COLUMNS, clip_rows(self))
        several = self.label_sets is not None
        name, each = ("average_precision", self.average_precision) if several else ("accuracy", self.class_accuracy)
        classes = zip(self.class_names, self.class_counts, map(_number, each))
        write_csv(folder / "per_class.csv", ("class", "clips", name), classes)
        unreadable = [(path, reason) for path, reason in zip(self.paths, self.reasons) if reason]
        for name, rows in (("unreadable.csv", unreadable), ("damaged.csv", self.damaged)):
            write_findings(folder / name, ("path", "reason"), rows)
        if image and not several:
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
                if "label_sets" in file.keys():
                    arrays["label_sets"] = file.get_tensor("label_sets").astype(bool)
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
    """Yield one row for each clip, as `CLIP_COLUMNS` names them; `rank` is that of the true class, from 1.

    Several labels have a `|` between them, and no rank.
    """
    several = scores.label_sets
    for row, path in enumerate(scores.paths):
        label, predicted = scores.labels[row], scores.predictions[row]
        own: list[int] = (
            ([int(label)] if label >= 0 else []) if several is None else np.flatnonzero(several[row]).tolist()
        )
        yield (
            path,
            "|".join(scores.class_names[i] for i in own),
            scores.class_names[predicted] if predicted >= 0 else "",
            _number(scores.probabilities[row, predicted]) if predicted >= 0 else "",
            (scores.ranks[row] or "") if several is None else "",
            "yes" if scores.readable[row] else "no",
            scores.reasons[row],
        )


def _json(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def tables(scores: Scores, title: str = "test", most_classes: int = 10) -> list[Table]:
    """Return the accuracies, then tables of the worst classes, confusions and bad files, without empty ones."""
    unreadable = [(path, reason) for path, reason in zip(scores.paths, scores.reasons) if reason]
    bad = (_file_table("clip", "unreadable", unreadable), _file_table("file", "damaged", scores.damaged))
    confusions = [_confusion_table(scores)] if scores.label_sets is None else []
    found = (_class_table(scores, most_classes), *confusions, *bad)
    return [_summary_table(scores, title), *(table for table in found if table.row_count)]


def _summary_table(scores: Scores, title: str) -> Table:
    table = plain_table("", " ", text=[""], title=title, show_header=False)
    table.columns[0].style = "dim"
    table.add_row(scores.measure, Text(percent(scores.accuracy), style="bold"))
    if len(scores.class_names) > 5 and scores.label_sets is None:
        table.add_row("top-5", percent(scores.top5))
    if scores.label_sets is None:
        table.add_row("mean class accuracy", percent(scores.mean_class_accuracy))
    clips = Text(str(len(scores)))
    if unlabeled := int((scores.labels < 0).sum()):
        clips.append(f", {unlabeled} {'unlabeled' if scores.label_sets is None else 'without a class'}")
    if bad := scores.num_unreadable:
        clips.append(f", {bad} unreadable (counted as wrong)", style="bold red")
    if damaged := len(scores.damaged):
        clips.append(f", {damaged} damaged file{'s' if damaged > 1 else ''} (used)", style="yellow")
    table.add_row("clips", clips)
    return table


def _class_table(scores: Scores, most: int) -> Table:
    one = scores.label_sets is None
    measure, shares = ("accuracy", scores.class_accuracy) if one else ("AP", scores.average_precision)
    present = np.flatnonzero(scores.class_counts > 0)
    order = present[np.argsort(shares[present], kind="stable")][:most]
    shown = f"worst {len(order)} of {len(present)} classes (all in per_class.csv)"
    title = "classes" if len(order) == len(present) else shown
    table = plain_table("class", "clips", measure, "", text=["class", ""], title=title)
    for label in map(int, order):
        accuracy = float(shares[label])
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
