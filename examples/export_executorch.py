"""A recognizer as a .pte file for ExecuTorch: python examples/export_executorch.py WEIGHTS FILE.pte (for phones).

pip install 'teinet[executorch]'. Pixels (T, 3, S, S) uint8 of one clip go in; logits (1, classes) and scores
(classes,) come out, computed by XNNPACK. The file is compared with PyTorch on 24 clips before it is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from teinet import Recognizer
from teinet.export.clips import load_clips
from teinet.export.graph import ClipGraph
from teinet.export.parity import Parity, check_parity


def export(weights: str, path: str) -> Parity:
    """Write the file and return how far its answers differ; RunError, and no file, if they do."""
    recognizer = Recognizer.load(weights, device="cpu")
    views = load_clips(recognizer.full_header, None, calibrate=False).views  # (T, S, S, 3) uint8 each
    program = torch.export.export(ClipGraph(recognizer.model).eval(), (_pixels(views[0]),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    method = Runtime.get().load_program(lowered.buffer).load_method("forward")

    def logits(batch: np.ndarray) -> np.ndarray:  # a file takes one clip at a time
        return np.concatenate([method.execute([_pixels(view)])[0].numpy() for view in batch])

    found = check_parity(recognizer.logits, logits, views, precision="fp32")
    Path(path).write_bytes(lowered.buffer)
    return found


def _pixels(view: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(view).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    print(export(*sys.argv[1:]))
