"""motion_pairs: a data set of time-reversed pairs of motions that the library draws itself, as real .mp4 files.

Every drawn clip stands twice, forwards under one class name and backwards under its partner's, so a network that is
blind to the order of frames cannot name more than half of the clips rightly, however well it sees.
"""

from teinet.data.motion_pairs.draw import draw, draw_with_progress
from teinet.data.motion_pairs.motions import CLASS_NAMES, PAIRS, draw_clip, stage
from teinet.data.motion_pairs.scenes import MotionPairs

__all__ = ["CLASS_NAMES", "PAIRS", "MotionPairs", "draw", "draw_clip", "draw_with_progress", "stage"]
