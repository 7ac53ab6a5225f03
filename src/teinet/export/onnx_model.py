"""ONNX models of networks: traced, with the preprocessing in front, a free number of clips, and the header within."""

from __future__ import annotations

import json
import logging
import warnings
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError
from teinet.export.graph import ClipGraph, StepGraph
from teinet.models.header import DEFAULTS, FORMAT, KEY

OPSET = 20
_CANDIDATES = (
    211,
    223,
    227,
    229,
    233,
    239,
)  # primes: numbers of clips that no other size of a network is a multiple of
_LAST = 2**31 - 1  # an end of a slice from here on is the end


def to_onnx(graph: ClipGraph | StepGraph, preprocessing: Preprocessing, header: dict[str, Any]) -> onnx.ModelProto:
    """Return the ONNX model of a network.

    Inputs and outputs of a `ClipGraph`: frames (N, T, H, W, C) uint8 of any H and W; logits (N, classes), and scores
    (classes,), the mean of the clips' probabilities. Of a `StepGraph`: frames (N, H, W, C) uint8, state_0, ... (zeros
    before the first frame); logits (N, classes), next_0, ... . Frames of the network's size are taken as they are,
    others are resized and cropped as in `teinet.data.transforms.test_crops`.

    Raises:
        ConfigError: a network that cannot be traced.
    """
    is_step = isinstance(graph, StepGraph)
    height, width = preprocessing.shape
    model = graph.network.model if isinstance(graph, StepGraph) else graph.model
    frames, channels = (1 if is_step else model.num_frames), model.num_channels
    clips = _unused_number(graph, frames, (height, width))
    # torch.empty: the numbers are not looked at, and memory that is not touched costs nothing
    inputs = [torch.empty(clips * frames, channels, height, width, dtype=torch.uint8)]
    if isinstance(graph, StepGraph):
        one = graph.init_state(torch.zeros(1, channels, height, width, dtype=torch.uint8))
        inputs += [torch.empty(clips, *tensor.shape[1:]) for tensor in one]
    states = range(len(inputs) - 1)
    names_in = ["pixels", *(f"state_{i}" for i in states)]
    names_out = ["logits", *([f"next_{i}" for i in states] if is_step else ["scores"])]
    traced = _simplified(_traced(graph, tuple(inputs), names_in, names_out))
    core = _free_clips(_with_inputs(traced, names_in), clips)
    front = _front(preprocessing, channels, frames, core.ir_version)
    merged = onnx.compose.merge_models(front, core, io_map=[("pixels", "pixels")])
    merged.producer_name, merged.producer_version = "teinet", str(header.get("version", ""))
    del merged.metadata_props[:], merged.opset_import[:]
    merged.opset_import.add(domain="", version=OPSET)
    facts = header.get("export", {}) | {"states": [list(tensor.shape[1:]) for tensor in inputs[1:]]}
    merged.metadata_props.add(key=KEY, value=json.dumps(DEFAULTS | header | {"format": FORMAT, "export": facts}))
    onnx.checker.check_model(merged)
    return merged


def _unused_number(graph: nn.Module, frames: int, size: tuple[int, int]) -> int:
    """Return a number of clips that, alone or times T, is no other size in the network."""
    known = {*size, *(side for tensor in graph.state_dict().values() for side in tensor.shape)}
    return next(clips for clips in _CANDIDATES if not any(side % clips == 0 for side in known))


def _traced(
    graph: nn.Module, inputs: tuple[torch.Tensor, ...], names_in: list[str], names_out: list[str]
) -> onnx.ModelProto:
    """Return the ONNX model for inputs of these very shapes: free ones take three times as long to trace."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph, inputs, input_names=names_in, output_names=names_out, opset_version=OPSET, dynamo=True,
                optimize=False, external_data=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise ConfigError(f"this network cannot be exported: {first}") from error
    finally:
        for log, level in zip(logs, before):
            log.setLevel(level)
    assert program is not None
    return program.model_proto


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its constants computed, by onnxruntime, which takes a tenth of onnxscript's time."""
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = f"{folder}/model.onnx"
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        simple = onnx.load(options.optimized_model_filepath)
    del simple.graph.value_info[:]
    for kept in [each for each in simple.opset_import if each.domain != ""]:
        simple.opset_import.remove(kept)
    return simple


def _with_inputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Give the inputs their names back: onnxruntime calls one that is an output too, as it is, by the output's name."""
    graph = model.graph
    for given, name in zip(graph.input, names, strict=True):
        if (other := given.name) == name:
            continue
        for node in graph.node:
            node.input[:] = [name if each == other else each for each in node.input]
        given.name = name
        graph.node.insert(0, helper.make_node("Identity", [name], [other]))
    return model


def _free_clips(model: onnx.ModelProto, clips: int) -> onnx.ModelProto:
    """Let a model take any number of clips in place of `clips`, which stands first in shapes, alone or multiplied."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if sizes and sizes[0].dim_value and sizes[0].dim_value % clips == 0:
            times = sizes[0].dim_value // clips
            sizes[0].dim_param = "N" if times == 1 else f"{times}N"
    if any(each.dims and each.dims[0] and each.dims[0] % clips == 0 for each in graph.initializer):
        raise ConfigError("this network cannot be exported: it holds numbers for each clip")
    shapes = {
        each.name: numpy_helper.to_array(each)
        for each in graph.initializer
        if each.data_type == TensorProto.INT64 and len(each.dims) == 1
    }
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            shape = shapes.get(name)
            if shape is None or not any(size > 0 and size % clips == 0 and size < _LAST for size in shape):
                continue
            free = {"Reshape": -1, "Expand": 1}.get(node.op_type)
            if free is None or shape[0] % clips or -1 in shape:
                raise ConfigError(f"this network cannot be exported: its {node.op_type} needs the number of clips")
            graph.initializer.append(numpy_helper.from_array(np.array([free, *shape[1:]]), f"free_{number}"))
            node.input[place] = f"free_{number}"
    used = {name for node in graph.node for name in node.input}
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)
    return model


def _front(preprocessing: Preprocessing, channels: int, frames: int, ir_version: int) -> onnx.ModelProto:
    """Return the model that makes pixels (N*T, C, height, width) of frames: resized as PIL does, and cropped."""
    height, width = preprocessing.shape
    mode = {"bilinear": "linear", "bicubic": "cubic"}[preprocessing.interpolation]
    node = helper.make_node

    def constant(name: str, *values: int) -> onnx.NodeProto:
        return node("Constant", [], [name], value_ints=values)

    lead = ["N"] if frames == 1 else ["N", frames]
    nodes = [
        node("Shape", ["frames"], ["sizes"], start=len(lead)),
        constant("any", -1),
        node("Concat", ["any", "sizes"], ["flat"], axis=0),
        node("Reshape", ["frames", "flat"], ["images"]),
        node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        node("Shape", ["planes"], ["outer"], end=2),
        constant("size", height, width),
    ]
    crops = preprocessing.fit == "crop"
    target, resized = ("target", "resized") if crops else ("size", "pixels")
    if crops:  # the whole frame at the short side asked for, unless it is ready
        nodes += [
            node("Shape", ["planes"], ["own"], start=2),
            node("ReduceMin", ["own"], ["least"], keepdims=1),
            constant("short", preprocessing.short_side),
            node("Mul", ["own", "short"], ["wide"]),
            node("Div", ["wide", "least"], ["scaled"]),
            node("Equal", ["own", "size"], ["equal"]),
            node("Cast", ["equal"], ["counts"], to=TensorProto.INT64),
            node("ReduceMin", ["counts"], ["least_count"], keepdims=1),
            node("Cast", ["least_count"], ["ready"], to=TensorProto.BOOL),
            node("Where", ["ready", "size", "scaled"], ["target"]),
        ]
    nodes += [
        node("Concat", ["outer", target], ["to"], axis=0),
        node("Resize", ["planes", "", "", "to"], [resized], mode=mode, antialias=1, cubic_coeff_a=-0.5),
    ]
    if crops:
        nodes += [
            node("Sub", ["target", "size"], ["rest"]),
            constant("two", 2),
            node("Div", ["rest", "two"], ["start"]),
            node("Add", ["start", "size"], ["end"]),
            constant("axes", 2, 3),
            node("Slice", ["resized", "start", "end", "axes"], ["pixels"]),
        ]
    given = helper.make_tensor_value_info("frames", TensorProto.UINT8, [*lead, "H", "W", channels])
    made = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [f"{frames}N", channels, height, width])
    graph = helper.make_graph(nodes, "preprocessing", [given], [made])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=ir_version)
