"""A class's scores over time as an SVG path of bounded length."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT = 1000, 100  # of the picture that the path lies in
POINTS = 1000  # of a line at most
_GAP = 5.0  # times the usual distance between two rows: there the line is broken


def thinned(times: np.ndarray, scores: np.ndarray, most: int = POINTS) -> np.ndarray:
    """Which points to draw: all, or of each of many equal stretches the lowest and the highest.

    Args:
        times: (n,) seconds.
        scores: (n,) of one class.
        most: points, even.

    Returns:
        indices, ascending, at most `most` of them; the highest and the lowest score are among them.
    """
    if len(times) <= most:
        return np.arange(len(times))
    chosen = set()
    for part in np.array_split(np.arange(len(times)), most // 2):
        own = scores[part]
        chosen |= {int(part[own.argmin()]), int(part[own.argmax()])}
    return np.array(sorted(chosen))


def path_of(times: np.ndarray, scores: np.ndarray, length: float) -> str:
    """The `d` of an SVG path, 1000 wide for `length` seconds and 100 high from score 1 (top) to 0."""
    if not len(times):
        return ""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    broken = np.append(True, (np.diff(times) > _GAP * usual) | (np.diff(times) < 0))
    stretch = np.cumsum(broken)
    words, before = [], 0
    for i in thinned(times, scores).tolist():
        x, y = WIDTH * times[i] / length, HEIGHT * (1 - float(scores[i]))
        words.append(f"{'L' if stretch[i] == before else 'M'}{x:.1f} {y:.1f}")
        before = stretch[i]
    if len(words) == 1:  # a point alone would not be seen
        words.append("h2")
    return "".join(words)
