"""Export a recognizer to a file, which gets its name only if it gives the recognizer's answers."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnx
import torch

from teinet import __version__
from teinet.data.lists.data_config import DataConfig
from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError
from teinet.export.clips import ExportClips, load_clips
from teinet.export.formats import check_precision, find_format
from teinet.export.graph import ClipGraph, StepGraph
from teinet.export.onnx_model import to_onnx
from teinet.export.parity import Parity, check_parity, compare_logits
from teinet.export.web_page import write_page
from teinet.export.weights_types import half_weights, int8_model
from teinet.models.classifier import VideoClassifier, multiply_adds, parameters
from teinet.models.exported import ExportedNetwork, computes_bf16, openvino_core
from teinet.models.header import KEY, refuse_multi_label
from teinet.models.insertion import is_causal, temporal_modules
from teinet.utils.files import replacing

log = logging.getLogger("teinet")


class Exportable(Protocol):
    """The part of `teinet.Recognizer` that is exported; this room does not import the class."""

    model: Any
    preprocessing: Preprocessing

    @property
    def full_header(self) -> dict[str, Any]: ...

    def logits(self, views: np.ndarray, at_once: int | None = None) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file.

    Args:
        path: the file.
        seconds: that writing it took, without the comparison.
        megabytes: size, of all its files.
        clips: what it was compared on, in words.
        parity: the file's answers next to the recognizer's, on the same pixels.
        resized: the same for frames of the video's size, which the file resizes itself; None for optical flow.
        bf16: the same in bf16, of an OpenVINO file on a processor that computes in it.
    """

    path: Path
    format: str
    precision: str
    kind: str
    seconds: float
    megabytes: float
    clips: str
    parity: Parity
    resized: Parity | None
    bf16: Parity | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **{name: getattr(self, name) for name in ("format", "precision", "kind", "clips")},
            "path": str(self.path),
            "seconds": round(self.seconds, 1),
            "megabytes": round(self.megabytes, 2),
            "parity": self.parity.to_dict(),
            "resized": None if self.resized is None else self.resized.to_dict(),
            "bf16": None if self.bf16 is None else self.bf16.to_dict(),
        }


def export(
    recognizer: Exportable,
    path: str | Path,
    *,
    format: str = "onnx",
    precision: str | None = None,
    data: DataConfig | None = None,
    runtime: str | Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a recognizer to a file that runs without this library, and check that its answers are the same.

    Args:
        recognizer: a `teinet.Recognizer` of weights, not optimized.
        path: with the format's suffix, a folder for "web"; existing files are replaced at the end.
        format: see `teinet.export.formats`.
        precision: "fp32", "fp16" (weights alone), "int8" (weights and feature maps; gates, head and first
            convolutions stay in fp32); None is the format's default.
        runtime: for "web", onnxruntime-web's .tgz or folder (default: npm downloads it once).
        data: clips to compare on and to calibrate int8 with (default: those of the run, else drawn ones).
        progress: called with a line before each stage.

    Raises:
        ConfigError: a format or precision that does not exist, an optimized or multi-label recognizer, a network that
            cannot be exported, or no clips for int8.
        RunError: the file gives other answers; it is not kept.
        OSError: the file cannot be written.
    """
    chosen, path = find_format(format), Path(path)
    precision = check_precision(chosen, precision)
    if chosen.suffix and path.suffix != chosen.suffix:
        raise ConfigError(f"{path}: a file of the format {format} ends in {chosen.suffix}")
    model = recognizer.model
    if type(model) is not VideoClassifier:
        raise ConfigError(f"{path}: an optimized or exported recognizer cannot be exported; take its weights")
    refuse_multi_label(recognizer.full_header)
    progress("reading clips to compare on")
    header = recognizer.full_header | {"architecture": model.config, "version": __version__}
    clips = load_clips(header, data, calibrate=precision == "int8")
    began = time.perf_counter()
    progress("tracing the network")
    step = is_causal(model) and bool(temporal_modules(model))
    kind = "onnx" if chosen.name == "web" else chosen.name
    graph = StepGraph(model) if step else ClipGraph(model, channels_last=chosen.name == "openvino")
    facts = {
        **{"kind": "step" if step else "clip", "format": chosen.name, "precision": precision},
        **{"torch": torch.__version__, "onnx": onnx.__version__},
        "size": list(recognizer.preprocessing.shape),
        "parameters": parameters(model),
        "macs": multiply_adds(model, recognizer.preprocessing.shape),
    }
    exported = to_onnx(graph, recognizer.preprocessing, header | {"export": facts})
    with TemporaryDirectory() as scratch:
        if precision == "int8":
            progress(f"calibrating int8 with {len(clips.calibration)} clips")
            exported = int8_model(exported, clips.calibration, Path(scratch))
        elif precision == "fp16" and kind == "onnx":
            exported = half_weights(exported)
        progress("writing the file")
        files = _write(exported, kind, Path(scratch), half=precision == "fp16")
        seconds = time.perf_counter() - began
        progress(f"comparing it with the network on {len(clips.views)} clips")
        network = ExportedNetwork(files[0])
        parity = check_parity(recognizer.logits, network.logits, clips.views, precision=precision)
        resized = _resized(recognizer, network, clips)
        bf16 = None
        if network.runtime == "openvino" and network.precision != "int8" and computes_bf16():
            half = ExportedNetwork(files[0], precision="bf16")
            bf16 = compare_logits(*(run.logits(np.stack(clips.views)) for run in (half, recognizer)))
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        if chosen.name == "web":
            progress("writing the page")
            write_page(path, files[0], network.header, None if runtime is None else Path(runtime))
            megabytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        else:
            for file in files[::-1]:  # the one that is named last
                with replacing(path.with_suffix(file.suffix)) as part:
                    shutil.copyfile(file, part)
    return Exported(
        path=path, format=chosen.name, precision=precision, kind=str(facts["kind"]), seconds=seconds,
        megabytes=megabytes, clips=f"{len(clips.views)} of {clips.source}", parity=parity, resized=resized, bf16=bf16,
    )  # fmt: skip


def _write(model: onnx.ModelProto, format: str, folder: Path, *, half: bool) -> list[Path]:
    """Write the files of a format, the one to name first, and return them."""
    onnx.save(model, folder / "model.onnx")
    if format == "onnx":
        return [folder / "model.onnx"]
    import openvino

    converted = openvino_core().read_model(folder / "model.onnx")
    text = next(each.value for each in model.metadata_props if each.key == KEY)
    converted.set_rt_info(text, KEY)
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=half)
    return [folder / "model.xml", folder / "model.bin"]


def _resized(recognizer: Exportable, network: ExportedNetwork, clips: ExportClips) -> Parity | None:
    """Compare the answers for whole frames, which the file resizes itself."""
    if not clips.frames:
        return None
    got = [network.logits_of_frames(frames) for frames in clips.frames]
    wanted = [recognizer.logits(views[None]) for views in clips.views[: len(got)]]
    return compare_logits(np.concatenate(got), np.concatenate(wanted))
