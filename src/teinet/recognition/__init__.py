"""Recognizing the action in a video: clip by clip, or frame by frame."""

from teinet.recognition.recognizer import Prediction, Recognizer
from teinet.recognition.stream import Step, Stream, StreamState

__all__ = ["Prediction", "Recognizer", "Step", "Stream", "StreamState"]
