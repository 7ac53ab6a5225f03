"""motion_pairs: a data set of time-reversed pairs of motions that the library draws itself, as real .mp4 files.

Each clip is there forward as one class and backward as another: a model blind to frame order gets half right at most.
"""

from teinet.data.motion_pairs.draw import draw, draw_with_progress
from teinet.data.motion_pairs.motions import CLASS_NAMES, PAIRS, draw_clip, stage
from teinet.data.motion_pairs.scenes import MotionPairs

__all__ = ["CLASS_NAMES", "PAIRS", "MotionPairs", "draw", "draw_clip", "draw_with_progress", "stage"]
