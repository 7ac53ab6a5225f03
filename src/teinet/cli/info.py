"""`teinet info`: versions, devices, FFmpeg, kernels, folders: what a bug report needs."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_INSTRUCTIONS = r"\b(avx2|avx512f|avx512_bf16|avx512_vnni|amx_bf16|amx_int8|asimd|bf16|sve)\b"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """Find out and print; returns 0."""
    facts = collect()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for section, values in facts.items():
        print(f"{section}")
        for name, value in values.items():
            print(f"  {name:<18} {value}")
    return 0


def collect() -> dict[str, dict[str, Any]]:
    """Return what is known of this installation and this machine, by section; every value is text or a number."""
    import torch

    from teinet.utils.files import cache_folder
    from teinet.utils.machine import machine

    known = machine()
    devices = [f"cuda:{number} {name}" for number, name in enumerate(known["gpus"])]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "versions": {**known["versions"], **{name: _version(name) for name in ("timm", "safetensors", "rich")}},
        "extras": _extras(),
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


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _extras() -> dict[str, str]:
    from teinet.errors import EXTRAS

    missing = {extra: [name for name in modules if find_spec(name) is None] for extra, modules in EXTRAS.items()}
    return {
        extra: f"missing: {', '.join(names)}; pip install 'teinet[{extra}]'" if names else "installed"
        for extra, names in missing.items()
    }


def _instructions() -> str:
    """What the processor offers of what makes networks fast; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    flags = next((line for line in text.splitlines() if re.match(r"(flags|Features)\s*:", line)), "")
    return " ".join(dict.fromkeys(re.findall(_INSTRUCTIONS, flags)))


def _kernels() -> dict[str, str]:
    """Which forms of the temporal modules' kernels run here, and what the log says of those that do not."""
    import torch

    from teinet.kernels import FORMS, available_forms

    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("teinet")
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        there = available_forms()
    finally:
        log.removeHandler(handler)
        log.propagate = before
    why = {form: "; ".join(said) for form in FORMS}
    if not torch.cuda.is_available():
        why["triton"] = "no CUDA device"
    return {form: "runs" if form in there else f"does not run: {why[form]}" for form in FORMS}
