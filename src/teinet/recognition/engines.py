"""The engines that run an exported network, and the choice of the fastest that is installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, get_args

from teinet.errors import ConfigError, RunError, nearest
from teinet.models.exported import Engine, ExportedNetwork, Precision, Runtime, computes_bf16

if TYPE_CHECKING:
    from teinet.recognition.recognizer import Recognizer

log = logging.getLogger("teinet")

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
_WRITERS = ("onnx", "onnxscript", "onnxruntime")  # what writing an ONNX file takes
_PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}


def check_engine(engine: str, precision: str) -> None:
    """Raise ConfigError for an engine or a precision that does not exist."""
    for name, value, kinds in (("engine", engine, Engine), ("precision", precision, Precision)):
        if value not in (valid := get_args(kinds)):
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(valid)}.{nearest(str(value), valid)}")


def exported_form(recognizer: Recognizer, engine: Engine, precision: Precision) -> Recognizer:
    """Return a recognizer that runs its exported network; see `Recognizer.optimize`.

    Raises:
        ConfigError: an engine or precision that is not for this recognizer.
        ModuleNotFoundError: what the engine needs is not installed.
    """
    if isinstance(recognizer.model, ExportedNetwork):
        return _other_runtime(recognizer, recognizer.model, engine, precision)
    if engine == "auto":
        engine = fastest(recognizer)
        if engine in RUNTIMES:
            try:
                found = exported_form(recognizer, engine, precision)
                log.info("engine: %s", found.model.optimization)
                return found
            except (ConfigError, RunError) as error:
                log.info("the network does not run by %s: %s", engine, error)
        log.info("engine: folded")
        return recognizer.optimize(engine="folded", precision=precision)
    assert engine in RUNTIMES
    runtime: Runtime = "openvino" if engine == "openvino" else "onnx"
    if recognizer.device.type != "cpu":
        raise ConfigError(f"engine {engine} runs on the CPU, and the device is {recognizer.device}; use --device cpu")
    _check(runtime, precision)
    from teinet.export.cached import exported_file

    file = exported_file(recognizer, runtime, "int8" if precision == "int8" else "fp32")
    return type(recognizer).of_exported(file, runtime=runtime, precision=_computes_in(runtime, precision))


def exported_forms() -> list[tuple[Engine, Precision]]:
    """Return the runtimes that are installed, with the precisions that this processor computes in, but int8."""
    if not all(find_spec(name) for name in _WRITERS):
        return []
    found: list[tuple[Engine, Precision]] = [("onnx", "fp32")]
    if find_spec("openvino"):
        found.append(("openvino", "fp32"))
        if _computes_in("openvino", "auto") == "bf16":
            found.append(("openvino", "bf16"))
    return found


def fastest(recognizer: Recognizer) -> Engine:
    """Return the fastest engine that is installed: OpenVINO, then onnxruntime; torch's own on other devices."""
    if recognizer.device.type != "cpu":
        return "folded"
    if not all(find_spec(name) for name in _WRITERS):
        return "folded"
    return "openvino" if find_spec("openvino") else "onnx"


def _other_runtime(
    recognizer: Recognizer, network: ExportedNetwork, engine: Engine, precision: Precision
) -> Recognizer:
    if engine == "eager" and precision == "auto":
        return recognizer
    if engine in ("folded", "compile"):
        raise ConfigError(f"{network.path} is exported, and the engine {engine} is torch's; use onnx or openvino")
    if engine == "auto" and find_spec("openvino"):
        engine = "openvino"
    runtime: Runtime = (
        network.runtime if engine in ("eager", "auto") else ("openvino" if engine == "openvino" else "onnx")
    )
    stored = str(network.facts.get("precision", "fp32"))
    if precision not in ("auto", stored):
        if not (runtime == "openvino" and precision in ("fp32", "bf16")):
            raise ConfigError(f"{network.path} holds {stored}, and no {precision}; export it again with --precision")
        _check(runtime, precision)
    return type(recognizer).of_exported(network.path, runtime=runtime, precision=_computes_in(runtime, precision))


def _check(runtime: Runtime, precision: Precision) -> None:
    valid = _PRECISIONS[runtime]
    if precision not in ("auto", *valid):
        raise ConfigError(f"engine {runtime} has no precision {precision}; it has {', '.join(valid)}")


def _computes_in(runtime: Runtime, precision: Precision) -> str:
    """Return the number format that a runtime computes in where it is not int8: "fp32" or "bf16"."""
    if runtime != "openvino" or precision not in ("auto", "bf16"):
        return "fp32"
    return "bf16" if precision == "bf16" or computes_bf16() else "fp32"
