"""Event detection in long recordings and live video: when each action begins and ends."""

from teinet.detection.detector import Detector
from teinet.detection.events import Change, Event, Rules
from teinet.detection.monitor import Counts, Notice, Watch
from teinet.detection.recording import Timeline, timeline

__all__ = ["Change", "Counts", "Detector", "Event", "Notice", "Rules", "Timeline", "Watch", "timeline"]
