"""A network in an exported file, run by onnxruntime or OpenVINO; needs no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from teinet.errors import CheckpointError, ConfigError
from teinet.models.header import read_header
from teinet.utils.arrays import to_array

if TYPE_CHECKING:
    import openvino
    from torch import Tensor

Runtime = Literal["onnx", "openvino"]
Engine = Literal["auto", "eager", "folded", "compile", "onnx", "openvino"]  # of recognizers: torch's forms and runtimes
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


class Runner(Protocol):
    """Maps the inputs of a graph, in order, to its outputs, in order."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]: ...


class ExportedNetwork:
    """The network of a file that `teinet export` wrote, on the CPU.

    Args:
        path: an .onnx file, or OpenVINO's .xml with its .bin next to it.
        runtime: "onnx" (onnxruntime) or "openvino", which runs both kinds of files; None: by the kind of the file.
        precision: OpenVINO's number format: "bf16" where the processor computes in it; "fp32" for any other.

    Attributes:
        header: of the file, as in `read_header`; `header["export"]` says how it was exported.

    Raises:
        CheckpointError: the file is missing or damaged, or no exported recognizer.
        ConfigError: a runtime that does not run this kind of file.
        ModuleNotFoundError: the runtime is not installed.
    """

    def __init__(self, path: str | Path, *, runtime: Runtime | None = None, precision: str = "fp32"):
        self.path = Path(path)
        self.header = read_header(path)
        self.runtime: Runtime = runtime or ("openvino" if self.path.suffix == ".xml" else "onnx")
        if self.runtime == "onnx" and self.path.suffix == ".xml":
            raise ConfigError(f"{path}: onnxruntime runs .onnx files; use the engine openvino for this one")
        facts = self.header.get("export")
        if not isinstance(facts, dict) or facts.get("kind") not in ("clip", "step"):
            raise CheckpointError(f"{path}: its header does not say how it was exported. Export it again.")
        self.facts: dict[str, Any] = facts
        self.config: dict[str, Any] = self.header["architecture"]
        pixels = self.header["preprocessing"]
        self.data_config = {name: pixels[name] for name in ("mean", "std", "interpolation") if name in pixels}
        self.num_frames = int(self.config["num_frames"])
        self.num_classes = len(self.header["class_names"])
        self.num_channels = len(pixels.get("mean", (0, 0, 0)))
        self.is_step = facts["kind"] == "step"
        stored = str(facts.get("precision", "fp32"))
        computes = "bf16" if self.runtime == "openvino" and precision == "bf16" else "fp32"
        self.precision = stored if computes == "fp32" else computes
        try:
            self._run: Runner = _Onnx(self.path) if self.runtime == "onnx" else _OpenVino(self.path, computes)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # each runtime raises its own kinds
            first = next(iter(str(error).strip().splitlines()), repr(error))
            raise CheckpointError(f"{path}: {_PACKAGES[self.runtime]} cannot load it ({first})") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ExportedNetwork, runtime=self.runtime, precision=self.precision), (self.path,)

    @property
    def optimization(self) -> str:
        """The runtime and the number format, in words."""
        return f"{_PACKAGES[self.runtime]}, {self.precision}"

    def logits(self, views: np.ndarray) -> np.ndarray:
        """Return the logits (V, classes) of views (V, T, H, W, C) uint8 of the network's size, float32."""
        self._check(views.shape)
        return self._logits(views)

    def logits_of_frames(self, frames: np.ndarray) -> np.ndarray:
        """Return the logits (1, classes) of a clip's frames (T, H, W, C) uint8 of any size, which the file resizes."""
        return self._logits(frames[None])

    def _logits(self, views: np.ndarray) -> np.ndarray:
        if not self.is_step:
            return self._run([np.ascontiguousarray(views)])[0]
        state, total = self.init_state(len(views)), np.zeros((len(views), self.num_classes), np.float64)
        for frame in range(self.num_frames):
            logits, state = self.step(views[:, frame], state)
            total += logits
        return (total / self.num_frames).astype(np.float32)

    def __call__(self, clips: Tensor) -> Tensor:
        """Return the logits of clips (V, T, C, H, W) uint8, as a `VideoClassifier` does."""
        import torch

        return torch.from_numpy(self.logits(to_array(clips.permute(0, 1, 3, 4, 2))))

    def init_state(self, streams: int) -> list[np.ndarray]:
        """Return the state of N streams before their first frame, zeros; for an exported step."""
        return [np.zeros((streams, *shape), np.float32) for shape in self.facts["states"]]

    def step(self, frames: np.ndarray, state: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the logits (N, classes) of the next frames (N, H, W, C) uint8 of N streams, and the next state."""
        logits, *following = self._run([np.ascontiguousarray(frames), *state])
        return logits, following

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 5 or shape[-1] != self.num_channels:
            raise ConfigError(f"clips must have shape (V, T, H, W, {self.num_channels}), got {shape}")
        if shape[1] != self.num_frames:
            raise ConfigError(f"{self.path} takes clips of {self.num_frames} frames, got {shape[1]}; export another T")
        if shape[2:4] != (size := tuple(self.facts["size"])):
            height, width = size
            raise ConfigError(
                f"{self.path} takes frames of {height} x {width} pixels, got {shape[2]} x {shape[3]}; use the views "
                "CLIPSxCROPS/crop, or the weights that it was exported from"
            )


class _Onnx:
    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: Any = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return found


class _OpenVino:
    """Compiles a program for each shape of the inputs, as those are faster than one for any."""

    def __init__(self, path: Path, precision: str):
        self._core = openvino_core()
        self._model = self._core.read_model(str(path))
        hint = {"fp32": "f32", "bf16": "bf16"}[precision]
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": _threads()}
        if _threads() == 1:  # OpenVINO 2026.4 crashes on some networks where it joins operations for one thread
            self._settings["SNIPPETS_MODE"] = "DISABLE"
        self._programs: dict[tuple[tuple[int, ...], ...], Any] = {}

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self._programs:
            model = self._model.clone()
            model.reshape({own: list(shape) for own, shape in zip(model.inputs, shapes, strict=True)})
            for each in model.get_ops():  # frames that have the network's size would be resized to it
                same = each.get_type_name() == "Interpolate" and each.input(0).get_shape() == each.output(0).get_shape()
                if same:
                    each.output(0).replace(each.input_value(0))
            self._programs[shapes] = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        found = self._programs[shapes].infer(list(inputs), share_inputs=True)
        return [found[i].copy() for i in range(len(found))]


def _threads() -> int:
    """Return torch's number of threads if it is loaded, else OMP_NUM_THREADS; 0 leaves it to the runtime."""
    if (torch := sys.modules.get("torch")) is not None:
        return torch.get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0


def computes_bf16() -> bool:
    """Return whether OpenVINO computes in bf16 on this processor."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def openvino_core() -> openvino.Core:
    """Return the one core of this process, which is never deleted.

    Each core gives the main thread a stack for signals of its own. Where a first one is deleted before a second one,
    OpenVINO 2026.4 leaves the thread with freed memory as this stack: the next signal that is handled ends the process.
    """
    import openvino

    return openvino.Core()
