"""Networks: temporal modules in 2-D CNNs, the classifier around them, their names, and their files.

The names below load on first use: a list of networks or a file's header needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teinet.models.checkpoint import load_matching, load_weights, save_weights
    from teinet.models.classifier import VideoClassifier
    from teinet.models.factory import create_model, register_temporal
    from teinet.models.insertion import insert_temporal, set_num_frames
    from teinet.models.names import list_models

_HOME = {
    "VideoClassifier": "classifier",
    "create_model": "factory",
    "insert_temporal": "insertion",
    "list_models": "names",
    "load_matching": "checkpoint",
    "load_weights": "checkpoint",
    "register_temporal": "factory",
    "save_weights": "checkpoint",
    "set_num_frames": "insertion",
}
__all__ = [
    "VideoClassifier", "create_model", "insert_temporal", "list_models", "load_matching", "load_weights",
    "register_temporal", "save_weights", "set_num_frames",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'teinet.models' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"teinet.models.{_HOME[name]}"), name)
    return value
