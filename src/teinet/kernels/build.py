"""Compile native/ for this processor, once, into the cache folder, and provide its functions."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from teinet.utils.files import cache_folder, to_disk

log = logging.getLogger("teinet")

SOURCES = tuple(sorted(Path(__file__).with_name("native").glob("*.cpp")))
HEADERS = tuple(sorted(Path(__file__).with_name("native").glob("*.h")))
FLAGS = (
    "-std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp -shared -fPIC".split()
)
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}  # what the C++ computes, on channels-last tensors
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 120


@lru_cache(maxsize=1)
def native() -> ctypes.CDLL | None:
    """Return the compiled kernels; None, with a warning, if they cannot be compiled or loaded."""
    try:
        return _declare(_load())
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        log.warning("the temporal modules run in plain torch, which is slower: %s", first_line(error))
        return None


@cache
def function(name: str, data: torch.dtype, weights: torch.dtype) -> Callable:
    """Return a compiled function for these types of activations and weights; TypeError if there is none."""
    unknown = {data, weights} - set(TYPES)
    if unknown or (library := native()) is None:
        kinds = " and ".join(sorted(map(str, unknown or {data, weights})))
        raise TypeError(
            f"the kernels do not compute {kinds} on this CPU; use teinet.layers, which also has a plain form"
        )
    return getattr(library, f"{name}_{TYPES[data]}_{TYPES[weights]}")


def address(tensor: Tensor | None) -> int | None:
    """Return a tensor's address for C; None, a null pointer, for None."""
    return None if tensor is None else tensor.data_ptr()


def compiler() -> str | None:
    """Return the path of the C++ compiler that $CXX names, or of the first one found; None if there is none."""
    named = os.environ.get("CXX")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, _COMPILERS)), None)


def _load() -> ctypes.CDLL:
    command = compiler()
    if command is None:
        raise FileNotFoundError(f"no C++ compiler found ({os.environ.get('CXX') or ', '.join(_COMPILERS)})")
    target = cache_folder() / "kernels" / f"native-{_fingerprint(command)}.so"
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not target.is_file():
            log.debug("compiling the kernels for this processor, once: %s", target)
            _compile(command, target)
        _refuse_foreign(target)
        return ctypes.CDLL(str(target))
    except OSError as error:
        log.warning("compiling the kernels for this process only, as the cache cannot be used: %s", first_line(error))
        with tempfile.TemporaryDirectory() as folder:  # a loaded library stays, also without its file
            return ctypes.CDLL(str(_compile(command, Path(folder) / target.name)))


def _compile(command: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:  # several processes may compile at once
        made = Path(folder) / target.name
        subprocess.run(
            [command, *FLAGS, *map(str, SOURCES), "-o", str(made)],
            check=True, capture_output=True, text=True, timeout=_SECONDS,
        )  # fmt: skip
        made.chmod(0o700)  # whatever the umask: a file that others could write is not run
        to_disk(made)
        os.replace(made, target)
    return target


def _fingerprint(command: str) -> str:
    """Return a hash of everything the compiled file depends on, this processor's instructions included."""
    version = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=_SECONDS).stdout
    try:
        text = Path("/proc/cpuinfo").read_text()
        cpu = "".join(sorted({line for line in text.splitlines() if line.startswith(("model name", "flags", "CPU "))}))
    except OSError:
        cpu = platform.processor()
    sources = [path.read_text() for path in SOURCES + HEADERS]
    parts = (*sources, " ".join(FLAGS), command, version, platform.machine(), cpu)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _refuse_foreign(path: Path) -> None:
    """Raise PermissionError if another user could have written the library that is about to be loaded."""
    if not hasattr(os, "getuid"):
        return
    for place in (path, path.parent):
        status = place.stat()
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & 0o022:
            raise PermissionError(f"{place} belongs to another user or can be written by others; delete it")


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    p, n, i, f = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
    arguments = {
        "forward": [*[p] * 4, *[n] * 5, i],
        "backward": [*[p] * 6, *[n] * 6, i],
        "tei": [*[p] * 12, *[n] * 6, f, i],
        "step": [*[p] * 6, *[n] * 4, i],
        "tei_step": [*[p] * 13, *[n] * 5, f, i],
    }
    for (name, types), data, weights in product(arguments.items(), TYPES.values(), TYPES.values()):
        entry = getattr(library, f"{name}_{data}_{weights}")
        entry.argtypes, entry.restype = types, None
    return library


def first_line(error: Exception) -> str:
    """Return the line that says what is wrong, from an error or a compiler's output."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = [line for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else repr(error))
