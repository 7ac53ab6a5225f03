"""When do a clip and the same clip backwards give a network the very same frames?"""

from __future__ import annotations


def middles(num_frames: int, segments: int) -> list[int]:
    """The middle frame of each of `segments` equal parts of `num_frames` frames, as one-clip tests take them."""
    return [(2 * i + 1) * num_frames // (2 * segments) for i in range(segments)]


def is_symmetric(num_frames: int, segments: int) -> bool:
    """Whether the middle frames, counted from the end, are the middle frames again; so with odd frames a segment."""
    chosen = middles(num_frames, segments)
    return chosen == [num_frames - 1 - i for i in reversed(chosen)]
