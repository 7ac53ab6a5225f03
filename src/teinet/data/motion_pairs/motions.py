"""The 12 motions of motion_pairs, each drawn forwards; the other class of the pair is the same clip backwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from teinet.data.motion_pairs.scenes import (
    ARROW,
    BAR,
    BOX,
    LIQUID,
    MOUTH,
    RING,
    VESSEL,
    MotionPairs,
    Scene,
    Shape,
    Sprite,
    render,
    set_scene,
    texture,
    wander,
)  # fmt: skip

Motion = Callable[[np.ndarray, np.random.Generator], list[Sprite]]


def draw_clip(pair: int, settings: MotionPairs, rng: np.random.Generator) -> np.ndarray:
    """Draw one clip (T, H, W, 3) uint8 of the first class of `PAIRS[pair]`; reverse it for the other class."""
    return render(stage(pair, settings, rng), settings, rng)


def stage(pair: int, settings: MotionPairs, rng: np.random.Generator) -> Scene:
    """Plan one clip of the first class of `PAIRS[pair]`, without drawing it."""
    time = (np.arange(settings.frames) + 0.5) / settings.frames
    sprites = _MOTIONS[pair][2](time, rng)
    light = np.ones_like(time)
    if PAIRS[pair] == _BRIGHTER:
        light = 1 - rng.uniform(0.65, 0.8) * (1 - _progress(time, rng))
    return set_scene(sprites, light * rng.uniform(0.8, 1.0), settings, time, rng)


def _progress(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a motion from 0 to 1, with random rests and easing, whose distribution is the same backwards."""
    rest_before, rest_after = rng.uniform(0, 0.12, 2)
    s = np.clip((time - rest_before) / (1 - rest_before - rest_after), 0, 1)
    ease = rng.uniform()
    return (1 - ease) * s + ease * s * s * (3 - 2 * s)


def _sway(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.02 * wander(rng, time, (0.5, 2))


def _place(time: np.ndarray, rng: np.random.Generator, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the position of a sprite that stays in place."""
    return rng.uniform(-reach, reach) + _sway(time, rng), rng.uniform(-reach, reach) + _sway(time, rng)


def _travel(time: np.ndarray, rng: np.random.Generator, heading: float) -> list[Sprite]:
    """Move one sprite across the frame along `heading` (radians, clockwise from the right)."""
    heading = heading + rng.uniform(-0.3, 0.3)
    along = rng.uniform(0.9, 1.3) * (_progress(time, rng) - 0.5) + rng.uniform(-0.12, 0.12)
    across = rng.uniform(-0.4, 0.4)
    x = along * np.cos(heading) - across * np.sin(heading) + _sway(time, rng)
    y = along * np.sin(heading) + across * np.cos(heading) + _sway(time, rng)
    radius = rng.uniform(0.26, 0.38)
    sprite = Sprite(Shape.any_round(rng), texture(rng, 48), x, y, radius, radius, rng.uniform(0, 2 * np.pi))
    return [sprite]


def _faster(time, rng):
    """Move a bead on a ring in either direction, first slowly, then fast."""
    x, y = _place(time, rng, 0.15)
    orbit, radius = rng.uniform(0.5, 0.6), rng.uniform(0.2, 0.25)
    turn = rng.choice([-1, 1]) * np.radians(rng.uniform(270, 350)) * time ** rng.uniform(2.2, 3.0)
    angle = rng.uniform(0, 2 * np.pi) + turn
    gray = np.full((2, 2, 3), rng.uniform(190, 240), np.float32)
    ring = Sprite(RING, gray, x, y, orbit, orbit)
    bead = Sprite(
        Shape.any_round(rng), texture(rng, 48), x + orbit * np.cos(angle), y + orbit * np.sin(angle), radius, radius
    )
    return [ring, bead]


def _nearer(time, rng):
    x, y = _place(time, rng, 0.25)
    radius = rng.uniform(0.1, 0.15) * rng.uniform(3.5, 4.5) ** _progress(time, rng)
    return [Sprite(Shape.any_round(rng), texture(rng, 64), x, y, radius, radius)]


def _clockwise(time, rng):
    x, y = _place(time, rng, 0.3)
    radius = rng.uniform(0.55, 0.75)
    angle = rng.uniform(0, 2 * np.pi) + np.radians(rng.uniform(150, 240)) * _progress(time, rng)
    return [Sprite(ARROW, texture(rng, 48), x, y, radius, radius, angle)]


def _appearing(time, rng):
    x, y = _place(time, rng, 0.45)
    radius = rng.uniform(0.35, 0.5)
    angle = rng.uniform(0, 2 * np.pi)
    sprite = Sprite(Shape.any_round(rng), texture(rng, 48), x, y, radius, radius, angle, opacity=_progress(time, rng))
    return [sprite]


def _together(time, rng):
    """Move two sprites towards each other on a line of any direction until they touch."""
    x, y = _place(time, rng, 0.12)
    heading = rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.19, 0.26)
    half = radius + 0.02 + (rng.uniform(0.72, 0.82) - radius) * (1 - _progress(time, rng))
    shape = Shape.any_round(rng)
    dx, dy = half * np.cos(heading), half * np.sin(heading)
    first = Sprite(shape, texture(rng, 48), x + dx, y + dy, radius, radius)
    second = Sprite(shape, texture(rng, 48), x - dx, y - dy, radius, radius)
    return [first, second]


def _opening(time, rng):
    x, y = _place(time, rng, 0.3)
    radius = rng.uniform(0.45, 0.6)
    angle = rng.uniform(0, 2 * np.pi) + 5 * _sway(time, rng)
    phase = _progress(time, rng)
    return [Sprite(MOUTH, texture(rng, 48), x, y, radius, radius, angle, phase=phase)]


def _covering(time, rng):
    """Slide a panel from any side over a sprite that stays in place."""
    x, y = _place(time, rng, 0.3)
    radius = rng.uniform(0.26, 0.32)
    still = Sprite(Shape.any_round(rng), texture(rng, 48), x, y, radius, radius)
    heading = rng.uniform(0, 2 * np.pi)
    half = radius + 0.1
    away = (1 - _progress(time, rng)) * rng.uniform(0.9, 1.05)
    panel = Sprite(BOX, texture(rng, 48), x + away * np.cos(heading), y + away * np.sin(heading), half, half, heading)
    return [still, panel]


def _brighter(time, rng):
    """Place a sprite; `stage` changes the light of the whole frame."""
    x, y = _place(time, rng, 0.4)
    radius = rng.uniform(0.25, 0.4)
    return [Sprite(Shape.any_round(rng), texture(rng, 48), x, y, radius, radius, rng.uniform(0, 2 * np.pi))]


def _stretching(time, rng):
    """Stretch a bar of any direction to a greater length."""
    x, y = _place(time, rng, 0.25)
    short, long = rng.uniform(0.14, 0.18), rng.uniform(0.65, 0.8)
    length = short + (long - short) * _progress(time, rng)
    angle, thickness = rng.uniform(0, 2 * np.pi), rng.uniform(0.14, 0.18)
    bar = Sprite(BAR, texture(rng, 48), x, y, length, thickness, angle, phase=length / thickness)
    return [bar]


def _filling(time, rng):
    """Fill a glass, seen from the side, with liquid."""
    x, y = _place(time, rng, 0.3)
    half = rng.uniform(0.45, 0.6)
    glass = np.full((2, 2, 3), rng.uniform(190, 240), np.float32)
    liquid = Sprite(LIQUID, texture(rng, 64), x, y, half, half, phase=0.05 + 0.95 * _progress(time, rng))
    return [liquid, Sprite(VESSEL, glass, x, y, half, half)]


_BRIGHTER = ("getting brighter", "getting darker")
_MOTIONS: tuple[tuple[str, str, Motion], ...] = (
    ("moving left", "moving right", partial(_travel, heading=np.pi)),
    ("moving up", "moving down", partial(_travel, heading=-np.pi / 2)),
    ("coming nearer", "going farther", _nearer),
    ("turning clockwise", "turning anticlockwise", _clockwise),
    ("appearing", "disappearing", _appearing),
    ("coming together", "moving apart", _together),
    ("opening", "closing", _opening),
    ("covering", "uncovering", _covering),
    ("getting faster", "getting slower", _faster),
    (*_BRIGHTER, _brighter),
    ("stretching", "contracting", _stretching),
    ("filling", "emptying", _filling),
)

PAIRS: tuple[tuple[str, str], ...] = tuple((forward, backward) for forward, backward, _ in _MOTIONS)
CLASS_NAMES: tuple[str, ...] = tuple(name for pair in PAIRS for name in pair)
