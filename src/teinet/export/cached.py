"""Exported files that `--engine onnx` and `--engine openvino` make once and keep in the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch

from teinet import __version__
from teinet.errors import CheckpointError
from teinet.export.exporting import Exportable, export
from teinet.export.formats import find_format
from teinet.models.exported import ExportedNetwork, Runtime
from teinet.utils.files import cache_folder

log = logging.getLogger("teinet")

_MODELS = ("classifier", "consensus", "streaming")
_WRITTEN_BY = ("graph.py", "onnx_model.py", *(f"../models/{name}.py" for name in _MODELS))


def exported_file(recognizer: Exportable, runtime: Runtime, precision: str) -> Path:
    """Return the file of a recognizer for a runtime, exported now or before.

    Args:
        precision: of the weights, see `teinet.export.formats`.

    Raises:
        ConfigError, RunError, OSError: see `teinet.export.exporting.export`.
    """
    model, suffix = recognizer.model, find_format(runtime).suffix
    key = hashlib.sha256(json.dumps([recognizer.full_header, model.config, precision], sort_keys=True).encode())
    key.update(f"{__version__} {torch.__version__} {onnx.__version__}".encode())
    for written_by in _WRITTEN_BY:  # between releases these change, and the version does not
        key.update((Path(__file__).parent / written_by).read_bytes())
    for name, tensor in model.state_dict().items():
        key.update(name.encode())
        key.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    path = cache_folder() / "exported" / f"{key.hexdigest()[:32]}{suffix}"
    try:
        ExportedNetwork(path)
        return path
    except CheckpointError:  # not there yet, or damaged
        path.parent.mkdir(parents=True, exist_ok=True)
    log.info("exporting the network for %s, once", runtime)
    with TemporaryDirectory(dir=path.parent) as own:  # several processes may export at once
        found = export(recognizer, Path(own) / path.name, format=runtime, precision=precision)
        for file in sorted(Path(own).iterdir()):  # .bin before the .xml that needs it
            os.replace(file, path.with_name(file.name))
    log.info("exported in %.0f s; %s", found.seconds, found.parity)
    return path
