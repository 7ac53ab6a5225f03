"""Networks: temporal modules in 2-D CNNs, the classifier around them, their names, and their files."""

from __future__ import annotations

from teinet.models.checkpoint import load_matching, load_weights, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model, list_models
from teinet.models.insertion import insert_temporal, set_num_frames

__all__ = [
    "VideoClassifier",
    "create_model",
    "insert_temporal",
    "list_models",
    "load_matching",
    "load_weights",
    "save_weights",
    "set_num_frames",
]
