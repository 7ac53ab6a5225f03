"""ONNX models with smaller weights: fp16, and int8 calibrated with clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from teinet.models.exported import ExportedNetwork

_SMALL = 1024  # numbers of a weight from which on halving it pays
_FIRST = 3  # convolutions that stay in fp32 in int8


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose large weights are stored in fp16 and cast when it is loaded; it computes in fp32."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    casts = []
    for weight in half.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and np.prod(weight.dims) >= _SMALL:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


def int8_model(model: onnx.ModelProto, clips: Sequence[np.ndarray], scratch: Path) -> onnx.ModelProto:
    """Return a model whose feature maps and their weights are int8, calibrated with clips.

    The range of a feature map is the mean of the extremes that each clip reaches (onnxruntime's "moving average" of
    clips that are read in one pass). In a causal step it is the extremes of all frames: the first ones, whose state is
    zero, would narrow a mean. Fp32 stay: the gates and the head, which work on pooled features, the normalization, and
    the first convolutions, whose errors all later ones would multiply.

    Args:
        clips: views (T, H, W, C) uint8.
        scratch: a folder for files in between.
    """
    source, target = scratch / "whole.onnx", scratch / "int8.onnx"
    onnx.save(model, source)
    network = ExportedNetwork(source)
    quantize_static(
        source,
        target,
        _Reader(network, clips),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_kept(model),
        extra_options={"ForceQuantizeNoInputCheck": False, "CalibMovingAverage": not network.is_step},
    )
    return onnx.load(target)


def _kept(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that stay in fp32."""
    inferred = shape_inference.infer_shapes(model).graph
    axes = {each.name: len(each.type.tensor_type.shape.dim) for each in (*inferred.value_info, *inferred.output)}
    first = [i for i, node in enumerate(model.graph.node) if node.op_type == "Conv"][:_FIRST][-1]
    kept = []
    for i, node in enumerate(model.graph.node):
        maps = [axes.get(name, 4) for name in node.output]
        if i <= first or max(maps) < 4 or node.op_type in ("Sigmoid", "Softmax", "Gemm", "MatMul"):
            kept.append(node.name)
    return kept


class _Reader(CalibrationDataReader):
    """Yields a network's inputs, one clip at a time; those of a step with the state that the frames before left."""

    def __init__(self, network: ExportedNetwork, clips: Sequence[np.ndarray]):
        self._inputs = self._all(network, clips)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self._inputs, None)

    @staticmethod
    def _all(network: ExportedNetwork, clips: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        for clip in clips:
            if not network.is_step:
                yield {"frames": clip[None]}
                continue
            state = network.init_state(1)
            for frame in clip:
                yield {"frames": frame[None]} | {f"state_{i}": each for i, each in enumerate(state)}
                _, state = network.step(frame[None], state)
