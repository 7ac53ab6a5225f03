"""Event detection in long recordings and live video: when each action begins and ends.

Names load on first use, so that rules of events are checked without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teinet.detection.detector import Detector
    from teinet.detection.events import Change, Event, Rules
    from teinet.detection.monitor import Counts, Notice, Watch
    from teinet.detection.recording import Timeline, timeline

__all__ = ["Change", "Counts", "Detector", "Event", "Notice", "Rules", "Timeline", "Watch", "timeline"]

_HOME = {
    "Change": "events",
    "Counts": "monitor",
    "Detector": "detector",
    "Event": "events",
    "Notice": "monitor",
    "Rules": "events",
    "Timeline": "recording",
    "Watch": "monitor",
    "timeline": "recording",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'teinet.detection' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"teinet.detection.{_HOME[name]}"), name)
    return value
