"""Recognition of large collections on Ray: on this machine, or on a cluster by its address.

teinet.scale.predict_dataset("runs/first", "clips.parquet", "scores/")        a row for each clip
teinet.scale.timeline_dataset("runs/first", "recordings/", "events/")         a row for each event
"""

from teinet.scale.predicting import predict_dataset
from teinet.scale.ray_job import Summary
from teinet.scale.recordings import timeline_dataset

__all__ = ["Summary", "predict_dataset", "timeline_dataset"]
