"""Events in long recordings and in live video: when each action begins and ends."""

from teinet.detection.monitor import Counts, Watch
from teinet.detection.notice import Notice
from teinet.detection.timeline import Timeline, timeline

__all__ = ["Counts", "Notice", "Timeline", "Watch", "timeline"]
