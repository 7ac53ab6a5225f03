"""A test on disk: scores for later ensembles, and tables that a spreadsheet opens. Nothing is pickled."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from teinet.errors import CheckpointError
from teinet.evaluation.scores import Scores
from teinet.utils.files import replacing

SCORES = "scores.safetensors"
_KEY = "teinet_scores"


def save_scores(scores: Scores, folder: str | Path, picture: bool = True) -> Path:
    """Write `scores.safetensors`, `metrics.json`, `clips.csv`, `per_class.csv`, `unreadable.csv`, `confusion.png`.

    The scores come first: should a later file fail, nothing computed is lost. Returns the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _save_tensors(scores, folder / SCORES)
    (folder / "metrics.json").write_text(
        json.dumps(scores.metrics(), indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8"
    )
    _write(folder / "clips.csv", CLIP_COLUMNS, clip_rows(scores))
    _write(
        folder / "per_class.csv",
        ("class", "clips", "accuracy"),
        zip(scores.class_names, scores.class_counts, map(_number, scores.class_accuracy)),
    )
    unreadable = [(path, reason) for path, reason in zip(scores.paths, scores.reasons) if reason]
    _write(folder / "unreadable.csv", ("path", "reason"), unreadable)
    if picture:
        from teinet.evaluation.confusion import save_confusion

        save_confusion(scores.confusion, scores.class_names, folder / "confusion.png")
    return folder


CLIP_COLUMNS = ("path", "label", "prediction", "probability", "rank", "readable", "reason")


def clip_rows(scores: Scores) -> Iterable[tuple]:
    """One row per clip: path, true name, predicted name, its probability, rank of the true class, readable, reason."""
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


def load_scores(path: str | Path) -> Scores:
    """Read `scores.safetensors`, or the folder that holds it.

    Raises:
        CheckpointError: no such file, a truncated one, or one that holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        path = path / SCORES
    if not path.is_file():
        raise CheckpointError(f"{path}: no scores here; a test writes them")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            texts = {name: header[name] for name in ("paths", "class_names", "reasons", "meta")}
            texts["names"] = header.get("names", ())
            arrays = {name: file.get_tensor(name) for name in ("labels", "probabilities")}
    except (KeyError, TypeError):
        raise CheckpointError(f"{path}: not the scores of a test") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    return Scores(**arrays, **texts)


def _save_tensors(scores: Scores, path: Path) -> None:
    from safetensors.numpy import save

    header = {name: getattr(scores, name) for name in ("paths", "class_names", "reasons", "meta", "names")}
    arrays = {name: np.ascontiguousarray(getattr(scores, name)) for name in ("labels", "probabilities")}
    with replacing(path) as part:
        part.write_bytes(save(arrays, metadata={_KEY: json.dumps({"format": 1} | header, default=str)}))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    # surrogateescape: names of files are bytes on Linux and need not be UTF-8
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
