"""`teinet info`: versions, devices, FFmpeg, kernels, folders: what a bug report needs."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from teinet.cli.parser import option, positional

_INSTRUCTIONS = r"\b(avx2|avx512f|avx512_bf16|avx512_vnni|amx_bf16|amx_int8|asimd|bf16|sve)\b"


@dataclass(kw_only=True)
class InfoOptions:
    """Print versions, devices and kernels on this machine for bug reports; or the card of a model.

    teinet info
    teinet info fights                 classes, training data, figures, license
    """

    weights: str = positional(
        "a pretrained model's name, a run's folder, a .safetensors file or hf://user/name", default=""
    )
    json: bool = option("print a JSON object", default=False)


def run(args: InfoOptions) -> int:
    """Collect facts and print them; return 0."""
    facts = card(args.weights) if args.weights else collect()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for section, values in facts.items():
        print(section)
        for name, value in values.items():
            print(f"  {name:<18} {value}")
    return 0


def card(weights: str) -> dict[str, dict[str, Any]]:
    """Return what a recognizer's file says of it, read without torch; CheckpointError where it cannot be used."""
    from teinet.models.header import read_header, weights_file
    from teinet.utils.text import printable

    header = read_header(weights)
    told = {key.replace("_", " "): printable(str(value)) for key, value in header["card"].items()}
    names, size = header["class_names"], header["preprocessing"].get("size", "")
    shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    interval = header["frame_interval"]
    network = {
        "network": header["architecture"]["name"],
        "modality": header["architecture"].get("modality", ""),
        "frames": header["architecture"].get("num_frames", ""),
        "pixels": size if not isinstance(size, list) else "x".join(map(str, size)),
        "sampling": header["sampling"].get("strategy", ""),
        "frame interval": "" if interval is None else f"{interval:.3g} s",
        "classes": printable(shown),
        "labels": "any number for a clip" if header["multi_label"] else "",
        "license": printable(header["license"]),
        "file": str(weights_file(weights)),
    }
    return {weights: {**told, **{key: value for key, value in network.items() if value != ""}}}


def collect() -> dict[str, dict[str, Any]]:
    """Return what is known of this installation and this machine, by section; every value is text or a number."""
    from importlib.metadata import version

    import torch

    from teinet.errors import EXTRAS
    from teinet.utils.files import cache_folder
    from teinet.utils.machine import machine

    known = machine()
    devices = [f"cuda:{number} {name}" for number, name in enumerate(known["gpus"])]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "versions": {
            **known["versions"],
            **{name: version(name) for name in ("timm", "huggingface_hub", "safetensors", "rich")},
        },
        "extras": {extra: _extra(extra, modules) for extra, modules in EXTRAS.items()},
        "machine": {
            "system": known["system"],
            "processor": known["processor"],
            "instruction sets": _instructions(),
            "torch computes in": torch.backends.cpu.get_cpu_capability(),
            "cores": known["cores"],
            "threads of torch": torch.get_num_threads(),
            "memory, GiB": known["memory_gib"],
            "devices": ", ".join(["cpu", *devices]),
        },
        "kernels": _kernels(),
        "folders": {
            "teinet": str(Path(__file__).parents[1]),
            "cache": str(cache_folder()),
            **{name: value for name, value in sorted(os.environ.items()) if name.startswith("TEINET_")},
        },
    }


def _extra(extra: str, modules: Iterable[str]) -> str:
    missing = [name for name in modules if find_spec(name) is None]
    return f"missing: {', '.join(missing)}; pip install 'teinet[{extra}]'" if missing else "installed"


def _instructions() -> str:
    """Return the processor's vector instructions, or an empty string if the system does not list them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    flags = next((line for line in text.splitlines() if re.match(r"(flags|Features)\s*:", line)), "")
    return " ".join(dict.fromkeys(re.findall(_INSTRUCTIONS, flags)))


def _kernels() -> dict[str, str]:
    """Return the status of each form of the temporal modules' kernels, with the logged reason if it does not run."""
    import torch

    from teinet.kernels import FORMS, available_forms

    said: list[str] = []
    log = logging.getLogger("teinet")
    # a filter that keeps each line and lets none through
    log.addFilter(keep := lambda record: said.append(record.getMessage()) is not None)
    try:
        there = available_forms()
    finally:
        log.removeFilter(keep)
    why = {"triton": "no CUDA device"} if not torch.cuda.is_available() else {}
    return {form: "runs" if form in there else f"does not run: {why.get(form, '; '.join(said))}" for form in FORMS}
