"""Scenes of motion_pairs and their difficulty: textured sprites over a drifting background, drawn with numpy.

The frame spans -1..1 in x (to the right) and y (down), at any size. Each nuisance (drift, camera shake, distractors,
grain) has the same distribution forwards and backwards in time, and none was chosen by the score of a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from teinet.errors import ConfigError

SPLITS = ("train", "val", "test")
OUTLINE = 0.03  # width of a sprite's dark rim, in frame coordinates
WIDEST_MOUTH = 1.25  # radians on each side of a fully open mouth


@dataclass(frozen=True, kw_only=True)
class MotionPairs:
    """The settings of motion_pairs; the same settings give the same files.

    Args:
        train: training clips of each of the 24 classes.
        val: validation clips of each class.
        test: test clips of each class.
        size: width and height, pixels, even, at least 32.
        frames: length of a clip.
        frame_rate: frames per second.
        segments: the T for which the sampled frames must be the same when reversed.
        distractors: number of small sprites that wander randomly.
        drift: distance that the background travels, in image widths per clip.
        shake: standard deviation of camera shake, as a share of the image's width.
        noise: standard deviation of grain, in gray levels (0 to 255).
        seed: seed of all random choices.

    Raises:
        ConfigError: a value out of range, or sampled frames that differ when reversed.
    """

    train: int = 30
    val: int = 4
    test: int = 15
    size: int = 96
    frames: int = 24
    frame_rate: int = 12
    segments: int = 8
    distractors: int = 1
    drift: float = 0.2
    shake: float = 0.008
    noise: float = 4.0
    seed: int = 0

    def __post_init__(self):
        least = {"train": 0, "val": 0, "test": 0, "size": 32, "frames": 1, "frame_rate": 1, "segments": 1}
        least |= {"distractors": 0, "drift": 0, "shake": 0, "noise": 0, "seed": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise ConfigError(f"motion_pairs: {name} is {getattr(self, name)}; it must be at least {low}")
        if self.size % 2:
            raise ConfigError(f"motion_pairs: size is {self.size}; it must be even, as video stores color at half size")
        if self.frames < self.segments or not is_symmetric(self.frames, self.segments):
            raise ConfigError(
                f"motion_pairs: the middles of {self.segments} segments of {self.frames} frames are not the same "
                f"frames when a clip is reversed; use an odd number per segment, such as {3 * self.segments} in total"
            )

    def clips(self, split: str) -> int:
        """Return the number of clips of each class in `split`; each drawing is shared by the classes of a pair."""
        return getattr(self, split)


def middles(num_frames: int, segments: int) -> list[int]:
    """Return the middle frame of each of `segments` equal parts of `num_frames` frames, as in one-clip tests."""
    return [(2 * i + 1) * num_frames // (2 * segments) for i in range(segments)]


def is_symmetric(num_frames: int, segments: int) -> bool:
    """Return true if the middle frames are the same counted from the end, as with an odd number per segment."""
    chosen = middles(num_frames, segments)
    return chosen == [num_frames - 1 - i for i in reversed(chosen)]


@dataclass(frozen=True)
class Shape:
    """A named outline; `distance(u, v, phase)` is negative inside, in units of the half extent."""

    name: str
    distance: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    @staticmethod
    def any_round(rng: np.random.Generator) -> Shape:
        """Return a random shape without a direction."""
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
    """Return the distance to an arrow along +u."""
    shaft = np.maximum(np.abs(u + 0.35) - 0.6, np.abs(v) - 0.26)
    head = np.maximum(0.75 * (u - 0.95) + np.abs(v) * 0.9, 0.0 - u)
    return np.minimum(shaft, head)


def _mouth(u, v, phase):
    """Return the distance to a disc with a mouth towards +u, closed at phase 0."""
    theta = np.abs(np.arctan2(v, u))
    return np.maximum(_disc(u, v, phase), (WIDEST_MOUTH * phase - theta) * np.hypot(u, v))


def _vessel(u, v, phase):
    """Return the distance to the walls of a square glass."""
    return np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.9) - 0.1


def _ring(u, v, phase):
    return np.abs(np.hypot(u, v) - 1) - 0.1


def _liquid(u, v, phase):
    """Return the distance to the liquid in the glass, empty at phase 0 and full at phase 1."""
    return np.maximum(np.maximum(np.abs(u), np.abs(v)) - 0.84, (0.84 - 1.68 * phase) - v)


DISC, BOX, BAR, ARROW = Shape("disc", _disc), Shape("box", _box), Shape("bar", _bar), Shape("arrow", _arrow)
MOUTH, RING = Shape("mouth", _mouth), Shape("ring", _ring)
VESSEL, LIQUID = Shape("vessel", _vessel), Shape("liquid", _liquid)
ROUND = (DISC, BOX, *(Shape(f"polygon{n}", _polygon(n)) for n in (3, 5, 6)), Shape("flower", _flower(5)))


@dataclass
class Sprite:
    """One textured shape and its track: arrays (T,), or numbers if constant.

    Args:
        texture: (S, S, 3) float32, 0 to 255.
        x, y: center, in frame coordinates (-1 to 1).
        width, height: half extents.
        angle: radians, clockwise.
        opacity: 0 to 1.
        phase: opening of a mouth or level of a liquid, 0 to 1; length of a bar relative to its thickness.
    """

    shape: Shape
    texture: np.ndarray
    x: np.ndarray | float
    y: np.ndarray | float
    width: np.ndarray | float
    height: np.ndarray | float
    angle: np.ndarray | float = 0.0
    opacity: np.ndarray | float = 1.0
    phase: np.ndarray | float = 0.0


@dataclass
class Scene:
    """The content of one clip.

    Args:
        sprites, distractors: those that show its class, and small ones behind them that wander randomly.
        light: (T,) brightness of the whole frame, 0 to 1.
        background: (S, S, 3) float32, 0 to 255, a texture that tiles seamlessly.
        background_x, background_y: (T,) its offsets in pixels.
        camera_x, camera_y: (T,) in frame coordinates.
    """

    sprites: list[Sprite]
    light: np.ndarray
    distractors: list[Sprite]
    background: np.ndarray
    background_x: np.ndarray
    background_y: np.ndarray
    camera_x: np.ndarray
    camera_y: np.ndarray


def wander(rng: np.random.Generator, time: np.ndarray, cycles: tuple[float, float], terms: int = 2) -> np.ndarray:
    """Return a smooth random path (T,) with mean square 1, whose distribution is the same backwards."""
    total = np.zeros_like(time)
    for _ in range(terms):
        total += np.sin(2 * np.pi * (rng.uniform(*cycles) * (time - 0.5) + rng.uniform()))
    return total * np.sqrt(2 / terms)


def set_scene(
    sprites: list[Sprite], light: np.ndarray, settings: MotionPairs, time: np.ndarray, rng: np.random.Generator
) -> Scene:
    """Return a scene of `sprites` with a background, a camera and distractors, all independent of the class."""
    background = texture(rng, settings.size, colorful=False)
    direction = rng.uniform(0, 2 * np.pi)
    distance = settings.drift * settings.size * rng.uniform(0.3, 1)
    start = rng.uniform(0, settings.size, 2)
    camera_x, camera_y = (2 * settings.shake * wander(rng, time, (2, 6), terms=3) for _ in range(2))
    distractors = []
    for _ in range(settings.distractors):
        radius = rng.uniform(0.09, 0.14)
        x = rng.uniform(-0.8, 0.8) + 0.15 * wander(rng, time, (0.5, 1.5))
        y = rng.uniform(-0.8, 0.8) + 0.15 * wander(rng, time, (0.5, 1.5))
        angle = rng.uniform(0, 2 * np.pi) + 0.5 * wander(rng, time, (0.5, 1.5))
        shape = Shape.any_round(rng)
        distractors.append(Sprite(shape, texture(rng, 48), x, y, radius, radius, angle))
    return Scene(
        sprites,
        light,
        distractors,
        background,
        background_x=start[0] + distance * np.cos(direction) * (time - 0.5),
        background_y=start[1] + distance * np.sin(direction) * (time - 0.5),
        camera_x=camera_x,
        camera_y=camera_y,
    )


def texture(rng: np.random.Generator, size: int, colorful: bool = True) -> np.ndarray:
    """Draw stripes, checks, dots or clouds (size, size, 3) in two colors: strong for sprites, muted for backgrounds."""
    v, u = np.mgrid[0:size, 0:size] / size
    kind = rng.integers(4)
    count = int(rng.integers(2, 5))  # whole periods, so that the texture tiles seamlessly
    phase_u, phase_v = rng.uniform(0, 1, 2)
    if kind == 0:
        sign = rng.choice([-1, 1])
        pattern = np.sin(2 * np.pi * (count * (u + phase_u) + sign * (count - 1) * v))
    elif kind == 1:
        pattern = np.sin(2 * np.pi * count * (u + phase_u)) * np.sin(2 * np.pi * count * (v + phase_v))
    elif kind == 2:
        pattern = np.cos(2 * np.pi * count * (u + phase_u)) + np.cos(2 * np.pi * count * (v + phase_v)) - 0.7
    else:
        pattern = np.zeros((size, size))
        for _ in range(5):
            wave_u, wave_v = rng.integers(-4, 5, 2)
            pattern += np.sin(2 * np.pi * (wave_u * u + wave_v * v + rng.uniform()))
    blend = 0.5 + 0.5 * np.tanh(2.5 * pattern)[..., None]
    if colorful:
        first = _hue(rng.uniform(), rng.uniform(0.75, 0.9), rng.uniform(0.85, 1.0))
        second = first * rng.uniform(0.35, 0.6)
    else:
        first = _hue(rng.uniform(), rng.uniform(0, 0.35), rng.uniform(0.3, 0.55))
        second = np.clip(first + rng.uniform(0.08, 0.18) * rng.choice([-1, 1]), 0, 1)
    return (255 * (first * blend + second * (1 - blend))).astype(np.float32)


def render(
    scene: Scene, settings: MotionPairs, rng: np.random.Generator, behind: np.ndarray | None = None
) -> np.ndarray:
    """Draw the frames of `scene`, (T, H, W, 3) uint8.

    Args:
        rng: random generator of the grain.
        behind: (T, H, W, 3) float32, 0 to 255, frames in place of the background; overwritten.
    """
    frames, size = settings.frames, settings.size
    canvas = _background(scene, frames, size) if behind is None else behind
    for sprite in [*scene.distractors, *scene.sprites]:
        _paint(canvas, sprite, scene)
    canvas *= scene.light.astype(np.float32)[:, None, None, None]
    if settings.noise:  # the same for all three colors, like film grain
        grain = rng.standard_normal((frames, size, size, 1), dtype=np.float32)
        canvas += settings.noise * grain
    return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def _background(scene: Scene, frames: int, size: int) -> np.ndarray:
    canvas = np.empty((frames, size, size, 3), np.float32)
    tile, period = scene.background, len(scene.background)
    row = np.arange(size + 1)
    for t in range(frames):
        x = scene.background_x[t] - scene.camera_x[t] * size / 2
        y = scene.background_y[t] - scene.camera_y[t] * size / 2
        left, top = int(np.floor(x)), int(np.floor(y))
        a, b = np.float32(x - left), np.float32(y - top)
        patch = tile[((top + row) % period)[:, None], (left + row) % period]
        patch = patch[:, :-1] * (1 - a) + patch[:, 1:] * a
        canvas[t] = patch[:-1] * (1 - b) + patch[1:] * b
    return canvas


def _paint(canvas: np.ndarray, sprite: Sprite, scene: Scene) -> None:
    """Draw `sprite` over `canvas` with a soft edge and a dark outline, changing only the pixels near it."""
    frames, size = canvas.shape[:2]
    frame, row, column, u, v = coordinates_in(sprite, scene.camera_x, scene.camera_y, frames, size)
    width, height, opacity, phase = (
        np.broadcast_to(np.asarray(value, np.float32), (frames,))[frame]
        for value in (sprite.width, sprite.height, sprite.opacity, sprite.phase)
    )
    pixels = sprite.shape.distance(u, v, phase) * np.minimum(width, height) * (size / 2)  # signed distance to the edge
    inside = np.clip(0.5 - pixels, 0, 1) * opacity
    seen = inside > 0
    frame, row, column, u, v = frame[seen], row[seen], column[seen], u[seen], v[seen]
    inside, pixels = inside[seen, None], pixels[seen]
    last = len(sprite.texture) - 1
    color = sprite.texture[
        np.clip(((v + 1) * 0.5 * last + 0.5).astype(np.intp), 0, last),
        np.clip(((u + 1) * 0.5 * last + 0.5).astype(np.intp), 0, last),
    ]
    rim = np.clip((-pixels - OUTLINE * size / 2) + 0.5, 0.15, 1)[:, None]
    canvas[frame, row, column] += inside * (color * rim - canvas[frame, row, column])


def coordinates_in(
    sprite: Sprite, camera_x: np.ndarray, camera_y: np.ndarray, frames: int, size: int
) -> tuple[np.ndarray, ...]:
    """Return the pixels near `sprite`: frame, row, column (int), and its own coordinates u, v there (float32)."""
    per_frame = [
        np.broadcast_to(np.asarray(value, np.float32), (frames,))[:, None, None]
        for value in (sprite.x + camera_x, sprite.y + camera_y, sprite.width, sprite.height, sprite.angle)
    ]
    x, y, width, height, angle = per_frame
    grid = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    dx, dy = grid[None, None, :] - x, grid[None, :, None] - y
    reach = np.hypot(width, height) + 0.05  # of the corners at any angle
    near = (np.abs(dx) < reach) & (np.abs(dy) < reach)
    frame, row, column = np.nonzero(near)
    dx, dy = dx[frame, 0, column], dy[frame, row, 0]
    angle, width, height = (value.ravel()[frame] for value in (angle, width, height))
    cos, sin = np.cos(angle), np.sin(angle)
    return frame, row, column, (cos * dx + sin * dy) / width, (cos * dy - sin * dx) / height


def _hue(hue: float, saturation: float, value: float) -> np.ndarray:
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation + saturation * wheel)
