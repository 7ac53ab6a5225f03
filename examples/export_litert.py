"""A recognizer as a .tflite file: python examples/export_litert.py WEIGHTS FILE.tflite (for phones).

pip install 'teinet[litert]'. Pixels (T, 3, S, S) uint8 of one clip go in; logits (1, classes) and scores
(classes,) come out. The file is compared with PyTorch on 24 clips before it is written.
"""

from __future__ import annotations

import sys

import litert_torch
import numpy as np
import torch

from teinet import Recognizer
from teinet.export.clips import load_clips
from teinet.export.graph import ClipGraph
from teinet.export.parity import Parity, check_parity


def export(weights: str, path: str) -> Parity:
    """Write the file and return how far its answers differ; RunError, and no file, if they do."""
    recognizer = Recognizer.load(weights, device="cpu")
    views = load_clips(recognizer.full_header, None, calibrate=False).views  # (T, S, S, 3) uint8 each
    graph = ClipGraph(recognizer.model)
    converted = litert_torch.convert(graph, (torch.from_numpy(views[0]).permute(0, 3, 1, 2).contiguous(),))

    def logits(batch: np.ndarray) -> np.ndarray:  # a file takes one clip at a time
        return np.concatenate([converted(np.ascontiguousarray(view.transpose(0, 3, 1, 2)))[0] for view in batch])

    found = check_parity(recognizer.logits, logits, views, precision="fp32")
    converted.export(path)
    return found


if __name__ == "__main__":
    print(export(*sys.argv[1:]))
