"""Recognize actions in video with 2-D networks that understand time (TEINet and its family).

Names load on first use, so that `import teinet` (and `teinet --help`) imports neither torch nor Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teinet import layers
    from teinet.data.video.reader import VideoReader
    from teinet.models import create_model, insert_temporal, list_models, register_temporal, set_num_frames
    from teinet.recognition.pipeline import pipeline
    from teinet.recognition.recognizer import Recognizer
    from teinet.training.api import test, train
    from teinet.training.recipe import Recipe
    from teinet.utils.memory import keep_freed_memory

__all__ = [
    "Recipe", "Recognizer", "VideoReader", "create_model", "insert_temporal", "keep_freed_memory", "layers",
    "list_models", "pipeline", "register_temporal", "set_num_frames", "test", "train",
]  # fmt: skip

_HOME = {
    "Recipe": "teinet.training.recipe",
    "Recognizer": "teinet.recognition.recognizer",
    "VideoReader": "teinet.data.video.reader",
    "create_model": "teinet.models.factory",
    "insert_temporal": "teinet.models.insertion",
    "keep_freed_memory": "teinet.utils.memory",
    "list_models": "teinet.models.names",
    "pipeline": "teinet.recognition.pipeline",
    "register_temporal": "teinet.models.factory",
    "set_num_frames": "teinet.models.insertion",
    "test": "teinet.training.api",
    "train": "teinet.training.api",
}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("teinet")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name == "layers":
        value = importlib.import_module("teinet.layers")
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'teinet' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
