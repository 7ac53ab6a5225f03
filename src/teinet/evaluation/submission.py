"""Predictions of unlabeled clips in the format of a benchmark's evaluation server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from teinet.errors import ConfigError
from teinet.evaluation.scores import Scores
from teinet.utils.files import write_text

BEST = 5


def write_submission(
    scores: Scores,
    path: str | Path,
    *,
    form: Literal["names", "numbers"] = "names",
    class_names: Sequence[str] | None = None,
) -> int:
    """Write a line `id;...` for each readable clip, atomically, and return the number of lines.

    Args:
        form: "names" writes the name of the best class (Something-Something V1, Jester); "numbers" the indices of the
            five best classes, best first (Something-Something V2).
        class_names: the data set's classes in its own order, indexed from 0; None takes those of the scores.

    Raises:
        ConfigError: the clips have no names, or several labels, or the data set lacks one of the scores' classes.
        OSError: the file cannot be written.
    """
    if scores.label_sets is not None:
        raise ConfigError("evaluation servers take one class for a clip, and this network gives several")
    if not len(scores.names):
        raise ConfigError("these clips have no ids to submit; add them to the csv in a column `name`")
    number = {name: i for i, name in enumerate(class_names or scores.class_names)}
    if unknown := [name for name in scores.class_names if name not in number]:
        raise ConfigError(f"the network has a class {unknown[0]!r} that the data set lacks; test one with its classes")
    order = np.argsort(-scores.probabilities, axis=1, kind="stable")[:, :BEST]
    lines = []
    for name, best, readable in zip(scores.names, order, scores.readable):
        if readable:
            chosen = [scores.class_names[c] for c in map(int, best)]
            lines.append(
                f"{name};{chosen[0]}" if form == "names" else ";".join([name, *(str(number[c]) for c in chosen)])
            )
    write_text(path, "".join(line + "\n" for line in lines), errors="strict")
    return len(lines)
