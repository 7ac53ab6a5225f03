"""Recognition of large collections on Ray: on this machine, or on a cluster by its address.

    teinet.scale.predict_dataset("runs/first", "clips.parquet", "scores/")        a row for each clip
    teinet.scale.timeline_dataset("runs/first", "recordings/", "events/")         a row for each event

Names load on first use, so that processes that only decode need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teinet.scale.predicting import predict_dataset
    from teinet.scale.ray_job import Summary
    from teinet.scale.recordings import timeline_dataset

__all__ = ["Summary", "predict_dataset", "timeline_dataset"]

_HOME = {"Summary": "ray_job", "predict_dataset": "predicting", "timeline_dataset": "recordings"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'teinet.scale' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"teinet.scale.{_HOME[name]}"), name)
    return value
