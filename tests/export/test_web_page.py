"""The folder of the browser page: what it holds, and what is said when onnxruntime-web cannot be had."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile

import pytest

from teinet.errors import ConfigError, RunError
from teinet.export import web_page
from teinet.export.web_page import RUNTIME, write_page

HEADER = {"class_names": ["a", "b"], "export": {"kind": "clip", "precision": "fp32", "states": []}}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "some.onnx"
    path.write_bytes(b"network")
    return path


@pytest.fixture
def package(tmp_path):
    """A .tgz with files of the runtime's names, whose content is their name."""
    path = tmp_path / "made" / web_page.PACKAGE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in RUNTIME:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return path


def test_the_folder_has_all_that_the_page_asks_for_and_no_address(tmp_path, model, package):
    write_page(tmp_path / "page", model, HEADER, package)
    page = tmp_path / "page"
    assert (page / "model.onnx").read_bytes() == b"network"
    found = json.loads((page / "model.json").read_text())
    assert found["class_names"] == ["a", "b"] and found["bytes"]["model.onnx"] == 7
    for name, ours in RUNTIME.items():
        assert (page / "runtime" / ours).read_bytes() == name.encode()
    texts = {path.name: path.read_text() for path in page.iterdir() if path.suffix in (".html", ".js", ".css")}
    for text in texts.values():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
        named = re.findall(r'(?:src|href)="([^"#:]+)"|from "\./([^"]+)"|new URL\("([^"]+)"', text)
        assert all((page / name).is_file() for names in named for name in names if name)
    assert sum(len(text.splitlines()) for name, text in texts.items() if name != "style.css") < 1000


def test_an_unpacked_runtime_does_too(tmp_path, model, package):
    with tarfile.open(package) as archive:
        archive.extractall(tmp_path, filter="data")
    for number, folder in enumerate((tmp_path / "package", tmp_path / "package" / "dist")):
        write_page(tmp_path / str(number), model, HEADER, folder)
        assert (tmp_path / str(number) / "runtime" / "ort.wasm.min.js").read_text() == "ort.wasm.min.mjs"


def test_another_runtime_is_refused(tmp_path, model):
    with pytest.raises(ConfigError, match=r"has no ort\.wasm\.min\.mjs; it must be onnxruntime-web"):
        write_page(tmp_path / "page", model, HEADER, tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be read as a \.tgz"):
        write_page(tmp_path / "page", model, HEADER, model)
    with pytest.raises(ConfigError, match="there is no such file"):
        write_page(tmp_path / "page", model, HEADER, tmp_path / "missing.tgz")


def pretend(monkeypatch, folder, script):
    """Let npm be a shell script, and the only program of the machine beside the shell's own."""
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(web_page.shutil, "which", lambda name, path=None: str(npm) if name == "npm" else None)


def test_a_package_is_downloaded_once_and_checked(tmp_path, model, package, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "cache"))
    right = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    pretend(monkeypatch, tmp_path, f"cp {package} . && echo once >> {tmp_path}/calls")
    with pytest.raises(RunError, match="another file than expected"):
        write_page(tmp_path / "page", model, HEADER)
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setattr(web_page, "SHA512", right)
    for _ in range(2):
        write_page(tmp_path / "page", model, HEADER)
    assert (tmp_path / "calls").read_text() == "once\n" * 2  # the refused one, and one of two
    (tmp_path / "cache" / web_page.PACKAGE).write_bytes(b"cut off")
    write_page(tmp_path / "page", model, HEADER)
    assert (tmp_path / "calls").read_text() == "once\n" * 3


def test_without_a_network_or_npm_one_line_says_what_to_do(tmp_path, model, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "cache"))
    pretend(monkeypatch, tmp_path, "echo 'npm error network is unreachable' >&2; exit 1")
    with pytest.raises(RunError, match=r"\(npm error network is unreachable\).*--runtime") as error:
        write_page(tmp_path / "page", model, HEADER)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(web_page.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=r"there is no npm; install it with: pip install 'teinet\[web\]'.*--runtime"):
        write_page(tmp_path / "page", model, HEADER)
