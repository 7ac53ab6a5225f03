"""The outlines of motion_pairs' things: for a point in a thing's own coordinates, how far it is from the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OUTLINE = 0.03  # width of the dark rim, in picture coordinates
WIDEST_MOUTH = 1.25  # radians on each side of a fully open mouth


@dataclass(frozen=True)
class Shape:
    """A named outline; `distance(u, v, phase)` is negative inside, about 1 for the half extent."""

    name: str
    distance: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    @staticmethod
    def any_round(rng: np.random.Generator) -> Shape:
        """One of the shapes that look alike from all sides."""
        return ROUND[rng.integers(len(ROUND))]


def _polygon(sides: int):
    def distance(u, v, phase):
        step = 2 * np.pi / sides
        theta = np.mod(np.arctan2(v, u), step) - step / 2
        return np.hypot(u, v) * np.cos(theta) - 0.95 * np.cos(step / 2)

    return distance


def _flower(petals: int):
    def distance(u, v, phase):
        return np.hypot(u, v) - (0.76 + 0.19 * np.cos(petals * np.arctan2(v, u)))

    return distance


def _box(u, v, phase):
    return np.maximum(np.abs(u), np.abs(v)) - 0.92


def _bar(u, v, phase):
    return np.maximum((np.abs(u) - 0.97) * np.maximum(phase, 1), np.abs(v) - 0.97)


def _disc(u, v, phase):
    return np.hypot(u, v) - 0.95


def _arrow(u, v, phase):
    """Points along +u: a shaft and a head."""
    shaft = np.maximum(np.abs(u + 0.35) - 0.6, np.abs(v) - 0.26)
    head = np.maximum(0.75 * (u - 0.95) + np.abs(v) * 0.9, 0.0 - u)
    return np.minimum(shaft, head)


def _mouth(u, v, phase):
    """A disc with a mouth towards +u, closed at phase 0."""
    theta = np.abs(np.arctan2(v, u))
    return np.maximum(_disc(u, v, phase), (WIDEST_MOUTH * phase - theta) * np.hypot(u, v))


def _vessel(u, v, phase):
    """The walls of a square glass."""
    return np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.9) - 0.1


def _ring(u, v, phase):
    return np.abs(np.hypot(u, v) - 1) - 0.1


def _liquid(u, v, phase):
    """What stands in the glass: nothing at phase 0, up to the brim at phase 1."""
    return np.maximum(np.maximum(np.abs(u), np.abs(v)) - 0.84, (0.84 - 1.68 * phase) - v)


DISC, BOX, BAR, ARROW = Shape("disc", _disc), Shape("box", _box), Shape("bar", _bar), Shape("arrow", _arrow)
MOUTH, RING = Shape("mouth", _mouth), Shape("ring", _ring)
VESSEL, LIQUID = Shape("vessel", _vessel), Shape("liquid", _liquid)
ROUND = (DISC, BOX, *(Shape(f"polygon{n}", _polygon(n)) for n in (3, 5, 6)), Shape("flower", _flower(5)))
