"""How much of motion_pairs is drawn, and how hard it is to see. Nothing here depends on what any network scores."""

from __future__ import annotations

from dataclasses import dataclass

from teinet.errors import ConfigError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class MotionPairs:
    """The settings of one drawing; the same settings give the same files.

    Args:
        train: training clips of each of the 24 classes.
        val: validation clips of each class.
        test: test clips of each class.
        size: width and height, pixels, even.
        frames: a clip's length.
        frame_rate: frames a second.
        segments: the T for which the sampled frames must be the same ones backwards.
        distractors: small things that wander without meaning.
        drift: how far the background travels, in picture widths a clip.
        shake: of the camera, standard deviation as a share of the picture's width.
        noise: grain, grey levels.
        seed: of everything drawn.

    Raises:
        ConfigError: a value out of range, or frames that are not the same ones backwards.
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
                raise ConfigError(f"motion_pairs: {name} must be at least {low}, got {getattr(self, name)}")
        if self.size % 2:
            raise ConfigError(f"motion_pairs: size must be even (video stores colour at half size), got {self.size}")
        if self.frames < self.segments or not is_symmetric(self.frames, self.segments):
            raise ConfigError(
                f"motion_pairs: the middles of {self.segments} segments of {self.frames} frames are not the same "
                f"frames when a clip runs backwards; take an odd number a segment, such as {3 * self.segments} in all"
            )

    def clips(self, split: str) -> int:
        """Clips of each class in `split`; each is one drawing, shared with the partner's class."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]


def middles(num_frames: int, segments: int) -> list[int]:
    """The middle frame of each of `segments` equal parts of `num_frames` frames, as one-clip tests take them."""
    return [(2 * i + 1) * num_frames // (2 * segments) for i in range(segments)]


def is_symmetric(num_frames: int, segments: int) -> bool:
    """Whether the middle frames, counted from the end, are the middle frames again; so with odd frames a segment."""
    chosen = middles(num_frames, segments)
    return chosen == [num_frames - 1 - i for i in reversed(chosen)]
