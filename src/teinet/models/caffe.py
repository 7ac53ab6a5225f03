"""Read the weights of Caffe's .caffemodel files: fields as in BVLC/caffe's caffe.proto."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from teinet.utils.protobuf import fields, packed

_LEAVES = {
    "Convolution": ("weight", "bias"),
    "InnerProduct": ("weight", "bias"),
    "BN": ("weight", "bias", "running_mean", "running_var"),  # yjxiong/caffe's: the variance is plain
}
_DIMENSIONS = 32  # of a blob, at most, as in Caffe


def read_caffemodel(path: str | Path) -> dict[str, Tensor]:
    """Return the weights of a file as LAYER.weight, .bias, .running_mean and .running_var; those of others by number.

    Raises:
        ValueError: the file is damaged, or in the format that Caffe had before 2015.
    """
    found: dict[str, Tensor] = {}
    for number, value in fields(memoryview(Path(path).read_bytes())):
        if number == 2:
            raise ValueError("in Caffe's older format; upgrade it with upgrade_net_proto_binary")
        if number != 100 or not isinstance(value, memoryview):
            continue
        name, kind, blobs = "", "", []
        for part, content in fields(value):
            if isinstance(content, memoryview) and part in (1, 2):
                text = str(content, "utf-8", "replace")
                name, kind = (text, kind) if part == 1 else (name, text)
            elif isinstance(content, memoryview) and part == 7 and len(blobs) < 8:
                blobs.append(_blob(content))
        leaves = _LEAVES.get(kind, ())
        for i, blob in enumerate(blobs):
            leaf = leaves[i] if i < len(leaves) else str(i)
            if f"{name}.{leaf}" in found:
                raise ValueError(f"two layers with the name {name}")
            one_row = kind == "BN" or leaf == "bias"  # of shape 1 x C in files
            shape = (-1,) if one_row else blob.shape[-2:] if kind == "InnerProduct" else blob.shape
            found[f"{name}.{leaf}"] = blob.reshape(shape)
    return found


def _blob(data: memoryview) -> Tensor:
    """Return the numbers of a BlobProto; its shape has a field of its own, or four in older files."""
    shape: list[int] = []
    older: dict[int, int] = {}
    floats: list[memoryview] = []
    for number, value in fields(data):
        if number <= 4 and isinstance(value, int):
            older[number] = value
        elif number == 7 and isinstance(value, memoryview):
            for part, sizes in fields(value):
                if part == 1:
                    shape += [sizes] if isinstance(sizes, int) else packed(sizes[: 10 * _DIMENSIONS])
        elif number == 5 and isinstance(value, memoryview):
            floats.append(value)
    shape = [older.get(i, 0) for i in range(1, 5)] if older else shape
    content = floats[0] if len(floats) == 1 else b"".join(floats)
    if not content or len(shape) > _DIMENSIONS or math.prod(shape) * 4 != len(content):
        raise ValueError(f"a blob of {len(content)} bytes has another shape")
    return torch.from_numpy(np.frombuffer(content, "<f4").copy()).reshape(shape)
