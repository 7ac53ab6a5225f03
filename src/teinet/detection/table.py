"""The rows of scores that a long recording gives, in arrays that grow: nothing else is kept for a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from teinet.detection.rows import Row

_FIRST = 256  # rows


class Table:
    """Rows found so far.

    Scores are kept as float32, the numbers that a file keeps, so that an interruption changes no event.

    Args:
        classes: scores of a row.
        kept: reaches (n, 2), scores (n, classes) and begins (n,) of an earlier table to go on from.
    """

    def __init__(self, classes: int, kept: Sequence[np.ndarray] | None = None):
        empty = np.zeros((0, 2)), np.zeros((0, classes), np.float32), np.zeros(0, bool)
        self._arrays = empty if kept is None else kept
        self._count = len(self._arrays[0])

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        for row in rows:
            if self._count == len(self._arrays[0]):
                room = max(_FIRST, self._count * 3 // 2)
                self._arrays = [_grown(array, room) for array in self._arrays]
            for array, value in zip(self._arrays, row, strict=True):
                array[self._count] = value
            self._count += 1

    @property
    def reaches(self) -> np.ndarray:
        """(n, 2) seconds of the first and last frame that a row is of, not copied."""
        return self._arrays[0][: self._count]

    @property
    def scores(self) -> np.ndarray:
        """(n, classes) float32, not copied."""
        return self._arrays[1][: self._count]

    @property
    def begins(self) -> np.ndarray:
        """(n,) whether a stream begins with a row, not copied."""
        return self._arrays[2][: self._count]


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.empty((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
