"""Predictions of unlabeled clips in the form that a data set's makers want them."""

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
    """Write a line `id;...` for each readable clip, all or none; return how many.

    Args:
        form: "names" writes the best class's name (Something-Something V1, Jester); "numbers" the numbers of the five
            best classes, the best first (Something-Something V2).
        class_names: the data set's classes in its own order, numbered from 0; None takes those of the scores.

    Raises:
        ConfigError: the clips have no names of their own, or the data set lacks one of the scores' classes.
        OSError: the file cannot be written, as in a folder that does not exist.
    """
    if not len(scores.names):
        raise ConfigError("these clips have no ids to submit under; a csv gives them in a column `name`")
    number = {name: i for i, name in enumerate(class_names or scores.class_names)}
    if unknown := [name for name in scores.class_names if name not in number]:
        raise ConfigError(f"the network knows a class {unknown[0]!r} which the data set does not have")
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
