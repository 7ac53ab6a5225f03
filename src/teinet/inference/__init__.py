"""Recognition: from a video to the names of what happens in it."""

from teinet.inference.recognizer import Recognizer
from teinet.inference.result import Prediction

__all__ = ["Prediction", "Recognizer"]
