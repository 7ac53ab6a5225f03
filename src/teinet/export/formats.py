"""The formats that a recognizer can be exported to, and what each holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teinet.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format.

    Args:
        suffix: of its file; empty for a folder.
        precisions: number formats of the weights that it can hold; the first is the default.
        runs: where its files run.
    """

    name: str
    suffix: str
    precisions: tuple[str, ...]
    runs: str


FORMATS = (
    ExportFormat(
        name="onnx",
        suffix=".onnx",
        precisions=("fp32", "fp16", "int8"),
        runs="onnxruntime and most other runtimes, on any system; all commands here",
    ),
    ExportFormat(
        name="openvino",
        suffix=".xml",
        precisions=("fp32", "fp16", "int8"),
        runs="OpenVINO: the fastest on Intel's and AMD's processors; all commands here",
    ),
    ExportFormat(
        name="web",
        suffix="",
        precisions=("fp16", "fp32", "int8"),
        runs="browsers: a folder with a page for files, the webcam and live scores; any static host",
    ),
)

_RECIPES = ("litert", "executorch")


def find_format(name: str) -> ExportFormat:
    """Return the format of this name; ConfigError with the nearest name if there is none."""
    names = [each.name for each in FORMATS]
    if name in _RECIPES:
        raise ConfigError(f"{name} is a recipe of the repository: python examples/export_{name}.py WEIGHTS FILE")
    if name not in names:
        raise ConfigError(f"there is no format {name!r}; formats: {', '.join(names)}.{nearest(name, names)}")
    return FORMATS[names.index(name)]


def check_precision(chosen: ExportFormat, precision: str | None) -> str:
    """Return the precision of the weights, the format's default for None; ConfigError if it has no such one."""
    if precision is None:
        return chosen.precisions[0]
    if precision not in chosen.precisions:
        hint = nearest(precision, chosen.precisions)
        raise ConfigError(
            f"the format {chosen.name} has no precision {precision!r}; it has {', '.join(chosen.precisions)}.{hint}"
        )
    return precision


def output_path(chosen: ExportFormat, output: str | None, weights: str) -> Path:
    """Return the file to write: `output` with the format's suffix, or one named after the weights in this folder."""
    if output is None:
        place = Path(weights)
        name = place.resolve().stem if place.exists() else place.name
        return Path(f"{name}{chosen.suffix or '-' + chosen.name}")
    path = Path(output)
    if chosen.suffix and path.suffix != chosen.suffix:
        raise ConfigError(
            f"--output is {output}; the format {chosen.name} needs a file name that ends in {chosen.suffix}"
        )
    return path
