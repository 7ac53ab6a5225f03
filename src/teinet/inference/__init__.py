"""Recognition: from a video to the names of what happens in it."""

from teinet.inference.recognizer import Recognizer
from teinet.inference.result import Prediction
from teinet.inference.stream import Step, Stream, StreamState
from teinet.inference.timeline import Timeline, timeline

__all__ = ["Prediction", "Recognizer", "Step", "Stream", "StreamState", "Timeline", "timeline"]
