"""`teinet convert` as a user meets it: one file, one line for each mistake, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from teinet.cli.main import main
from teinet.recognition import Recognizer
from tests.models.foreign import build, randomize, tsm_file

NAMES = ["wave", "clap", "jump"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("tsm") / "TSM_x_RGB_resnet18_shift8_blockres_avg_segment2_e45.pth.tar"
    torch.save(tsm_file(randomize(build("tsm", "resnet18", 3, 2, shift=True))), path)
    return path


@pytest.fixture
def words(tmp_path, checkpoint):
    """The words of a conversion in a folder of its own."""
    (tmp_path / "net.pth.tar").symlink_to(checkpoint)
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    return ["convert", str(tmp_path / "net.pth.tar"), "--labels", str(tmp_path / "labels.txt"), "--frames", "2"]


def test_a_file_comes_out_that_recognises(tmp_path, words, capsys):
    assert main([*words, "--size", "64", "--short-side", "72", "--strategy", "dense", "--license", "MIT"]) == 0
    out, err = capsys.readouterr()
    assert not err
    for said in ("tsm (TSM's own repository)", "tsm_resnet18, T = 2 frames, 3 classes", "optimizer, best_prec1"):
        assert said in out
    assert out.splitlines()[-1] == f"Next: teinet predict {tmp_path / 'net.safetensors'} VIDEO"
    recognizer = Recognizer.load(tmp_path / "net.safetensors")
    assert recognizer.class_names == tuple(NAMES) and recognizer.header["license"] == "MIT"
    pixels = recognizer.preprocessing
    assert (pixels.size, pixels.short_side, pixels.fit, pixels.interpolation) == (64, 72, "crop", "bilinear")
    assert (pixels.mean, pixels.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (recognizer.sampling.strategy, recognizer.sampling.num_frames) == ("dense", 2)
    assert recognizer.header["recipe"] == {} and recognizer.header["scores"] == {}
    frames = np.random.default_rng(0).integers(0, 256, (6, 80, 90, 3), dtype=np.uint8)
    assert {name for name, _ in recognizer(frames).labels} == set(NAMES)


def test_json_and_an_output_elsewhere(tmp_path, words, checkpoint, capsys):
    output = tmp_path / "new folder" / "a.safetensors"
    words[1] = str(checkpoint)
    assert main([*words, "--frames", "4", "--output", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "format": "tsm",
        "network": "tsm_resnet18",
        "num_frames": 4,
        "num_classes": 3,
        "left_out": ["epoch", "arch", "optimizer", "best_prec1"],
        "notes": ["the file's name says 2 frames, the conversion 4"],
        "file": str(output),
    }
    assert output.is_file()


def one_line(words, capsys) -> str:
    assert main(words) == 2
    out, err = capsys.readouterr()
    (line,) = err.strip().splitlines()
    assert not out and line.startswith("teinet convert: ")
    return line


def test_each_mistake_is_one_line_and_leaves_nothing(tmp_path, words, capsys):
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "run").mkdir()
    for name in ("clip.mp4", "run/last.safetensors", "run/resume.ckpt"):
        (tmp_path / name).write_bytes(b"0")
    before = set(os.listdir(tmp_path))
    for change, says in (
        ({1: "absent.pth"}, "no such file"),
        ({1: "folder"}, "folder: a folder; give a file"),
        ({3: "folder"}, "folder: a folder; give a file"),
        ({1: "run"}, "run is a run, so a recognizer already"),
        ({1: "run/resume.ckpt"}, "this is a run's resume state, not weights; use "),
        ({1: "clip.mp4"}, "this is a video, not weights; give the file"),
        ({1: "text.pth"}, "cannot be read as weights"),
        ({1: "empty.pth"}, "has no weights"),
        ({3: "two.txt"}, "3 classes, but 2 class names"),
    ):
        changed = [str(tmp_path / change[i]) if i in change else word for i, word in enumerate(words)]
        assert says in one_line(changed, capsys)
    for more, says in (
        (("--backbone", "resnt50", "--output", str(tmp_path / "labels.txt")), "Did you mean 'resnet50'"),
        (("--project", "mmaction"), "not those of MMAction2"),
        (("--model", "i3d_resnet50"), "leave out model ('i3d_resnet50')"),
        (("--output", str(tmp_path / "folder")), "a folder"),
        (("--output", str(tmp_path / "labels.txt")), "exists; --overwrite replaces it"),
        (("--output", words[1], "--overwrite"), "the checkpoint itself"),
        (("--output", str(tmp_path / "file" / "a.safetensors")), "cannot be written"),
    ):
        assert says in one_line([*words, *more], capsys)
    assert "give --frames T" in one_line(words[:4], capsys)
    assert set(os.listdir(tmp_path)) == before


def test_a_full_disk_is_no_mistake_of_the_words(tmp_path, words, capsys, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", Mock(side_effect=full))
    assert main(words) == 1
    assert capsys.readouterr().err == f"teinet convert: {tmp_path / 'net.safetensors'}: No space left on device\n"
    assert not list(tmp_path.glob("*net.safetensors*"))


def test_only_force_writes_over(tmp_path, words, capsys):
    (tmp_path / "net.safetensors").write_text("mine")
    assert "--overwrite" in one_line(words, capsys) and (tmp_path / "net.safetensors").read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert Recognizer.load(tmp_path / "net.safetensors").class_names == tuple(NAMES)
