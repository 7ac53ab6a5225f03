"""Recognizing the action in a video: clip by clip, or frame by frame.

Names load on first use, so that an exported recognizer needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Prediction, Recognizer
    from teinet.recognition.stream import Step, Stream, StreamState

__all__ = ["Prediction", "Recognizer", "Step", "Stream", "StreamState"]

_HOME = {"Prediction": "recognizer", "Recognizer": "recognizer"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'teinet.recognition' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"teinet.recognition.{_HOME.get(name, 'stream')}"), name)
    return value
