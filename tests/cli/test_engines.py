"""`--engine onnx` and `openvino` on a weights file: the commands give the answers of the network itself."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from teinet.cli.main import main
from teinet.utils import files
from tests import miniatures
from tests.detection.test_recording import make

EVENTS = ("--threshold", "0.34", "--off-threshold", "0.3", "--min-duration", "0.2")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A small causal network, a film, and a list of three clips."""
    folder = tmp_path_factory.mktemp("engines")
    make("teinet", causal=True, header={"frame_interval": 0.2, "license": "MIT"}).save(folder / "net.safetensors")
    miniatures.write(folder / "film.mp4", 3, length=61, rate=10)
    rows = [(miniatures.write(folder / f"{kind}.mp4", kind, length=9).name, "abc"[kind]) for kind in range(3)]
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return folder


def answers(place: Path, engine: str) -> dict[str, Any]:
    """Return what each command prints as JSON."""
    film, said = str(place / "film.mp4"), {}
    for command, words in {
        "predict": [film, "--json"],
        "test": ["--data", str(place / "clips.csv"), "--workers", "0", "--json"],
        "timeline": [film, "--json", *EVENTS],
        "watch": [film, "--fast", *EVENTS],
    }.items():
        with redirect_stdout(io.StringIO()) as out:
            assert main([command, str(place / "net.safetensors"), *words, "--engine", engine]) == 0, command
        said[command] = out.getvalue()
    notices = [json.loads(line) for line in said.pop("watch").splitlines()]
    found = {command: json.loads(text) for command, text in said.items()}
    return found | {"watch": [notice for notice in notices if notice["type"] == "end"]}


@pytest.fixture(scope="module")
def wanted(place) -> dict[str, Any]:
    return answers(place, "eager")


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_commands_answer_as_without_it(place, wanted, engine):
    """In bf16, where openvino computes in it: scores differ by hundredths."""
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    found = answers(place, engine)
    assert found["test"]["optimized"].startswith(engine) and "optimized" not in wanted["test"]
    assert found["test"]["top1"] == wanted["test"]["top1"] and found["test"]["num_labeled"] == 3
    pairs = [
        *zip(found["predict"][0]["labels"], wanted["predict"][0]["labels"], strict=True),
        *zip(found["timeline"][0]["events"], wanted["timeline"][0]["events"], strict=True),
        *zip(found["watch"], wanted["watch"], strict=True),
    ]
    assert len(pairs) >= 5
    for one, other in pairs:
        for name in set(one) - {"wall_time"}:
            assert one[name] == (pytest.approx(other[name], abs=0.03) if name in ("score", "peak") else other[name])


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_two_commands_may_export_the_same_network_at_once(place, tmp_path, monkeypatch, engine):
    """The second exports while the first has just written its file, and the first ends well."""
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path))
    command, write, writing = ["predict", str(place / "net.safetensors"), str(place / "0.mp4")], files.to_disk, []

    def slow_disk(path, *mode):
        if "exported" in path.parts and not writing:
            writing.append(path)
            assert main([*command, "--engine", engine]) == 0
        write(path, *mode)

    monkeypatch.setattr(files, "to_disk", slow_disk)
    assert main([*command, "--engine", engine]) == 0
    kept = [path.suffix for path in (tmp_path / "exported").iterdir()]
    assert sorted(kept) == ([".onnx"] if engine == "onnx" else [".bin", ".xml"])
