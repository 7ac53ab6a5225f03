"""Names that a terminal cannot print, and addresses in place of files, in every command that takes them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from teinet.cli.main import main
from tests.conftest import command, environment

NAME = "跑步 é 😀.mp4"


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("names")
    for label in ("走", "b"):
        (root / "set" / label).mkdir(parents=True)
        shutil.copy(clips / "resting" / "0.mp4", root / "set" / label / NAME)
    return root


def said(folder: Path, encoding: str, *words: str) -> str:
    """Standard output of a command in a process of its own, in an encoding."""
    how = environment() | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command(*words), cwd=folder, env=how, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(encoding, "replace")
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_characters_that_the_output_lacks_are_escaped(folder, encoding):
    path = f"set/b/{NAME}"
    text = said(folder, encoding, "predict", "motion_pairs", path, path.replace("b/", "走/"), "--top-k", "1")
    assert text.startswith("set/b/\\u8dd1\\u6b65 ") and "set/\\u8d70/" in text and "#" in text
    text = said(folder, encoding, "predict", "motion_pairs", path, "--top-k", "1", "--output-format", "csv")
    (row,) = csv.DictReader(text.splitlines())
    assert json.loads(f'"{row["path"]}"') == path  # the escapes are JSON's
    assert "\\u8d70" in said(folder, encoding, "data", "inspect", "set")


def test_events_of_a_file_whose_name_is_not_utf8(clips, tmp_path, monkeypatch, capsys):
    if sys.platform == "darwin":
        pytest.skip("names are UTF-8 on this system")
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"a\xff.mp4")
    shutil.copy(clips / "resting" / "0.mp4", name)
    assert main(["watch", "motion_pairs", name, "--output", "events.jsonl", "--fast"]) == 0
    events = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    assert {event["source"] for event in events} == {name}


READ = (  # these are read at an http address
    "predict fights {}.mp4", "timeline fights {}.mp4", "train {}.csv", "train set --data.labels {}.txt --dry-run",
    "test fights --data {}.csv", "data inspect {}.csv", "data check {}", "data inspect set --labels {}.txt",
    "data inspect set --val-path {}.csv",
)  # fmt: skip


@pytest.mark.parametrize("words", READ)
def test_a_server_without_an_answer_is_named_without_the_password(folder, monkeypatch, capsys, words):
    monkeypatch.chdir(folder)
    assert main(words.format("http://me:secret@127.0.0.1:9/x").split()) in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "using its causal form" not in line]
    assert "http://127.0.0.1:9/x" in line and "secret" not in line and "no connection to the store" in line


@pytest.mark.parametrize(
    "words",
    [
        *(f"rtsp {words}" for words in (*READ, "data inspect set --root {}")),
        *(f"{scheme} {words}" for scheme in ("http", "rtsp") for words in (
            "predict {}.safetensors a.mp4", "explain fights {}.mp4", "test {}.safetensors", "report {}",
            "info {}.safetensors", "convert {}.pth --labels names.txt --output o.safetensors",
        )),
    ],
)  # fmt: skip
def test_an_address_in_place_of_a_file_is_refused_without_its_password(folder, monkeypatch, capsys, words):
    scheme, _, words = words.partition(" ")
    monkeypatch.chdir(folder)
    assert main(words.format(f"{scheme}://me:secret@host/x").split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "using its causal form" not in line]
    assert f"{scheme}://host/x" in line and "secret" not in line
    assert scheme != "http" or "download" in line
    assert "is an address" in line or "live video" in line or "from addresses" in line
