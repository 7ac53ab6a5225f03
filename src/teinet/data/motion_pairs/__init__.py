"""motion_pairs: a data set of time-reversed pairs of motions, drawn by the library as real .mp4 files.

Each clip exists forwards with one class and backwards with another, so a model that ignores the order of frames cannot
pass 50 % top-1.
"""

from teinet.data.motion_pairs.draw import draw, draw_with_progress
from teinet.data.motion_pairs.motions import CLASS_NAMES, PAIRS, draw_clip, stage
from teinet.data.motion_pairs.scenes import MotionPairs

__all__ = ["CLASS_NAMES", "PAIRS", "MotionPairs", "draw", "draw_clip", "draw_with_progress", "stage"]
