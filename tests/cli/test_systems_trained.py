"""A system of the paper's tables from the command line: trained, tested, used, and trained further."""

from __future__ import annotations

import json

import pytest

from teinet.cli.main import main

TINY = ["--frames", "4", "--size", "32", "--epochs", "1", "--batch-size", "6", "--workers", "0", "--output", "runs"]


@pytest.mark.parametrize("name", ["trn_resnet10t", "r2plus1d_18", "tsn_resnet10t with consensus xception"])
def test_a_system_is_trained_and_used_as_any_network(clips, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    network, _, consensus = name.partition(" with consensus ")
    own = ["--pretrained", "false"] if "resnet10t" in name else []
    own += ["--model.consensus", consensus] if consensus else []
    assert main(["train", str(clips), "--model", network, *TINY, "--name", "first", *own]) == 0
    assert main(["test", "runs/first", "--workers", "0"]) == 0
    capsys.readouterr()
    assert main(["predict", "runs/first", str(clips / "resting"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert all(len(answer["labels"]) == 3 and len(answer["frame_indices"][0]) == 4 for answer in answers)
    assert main(["train", str(clips), "--weights", "runs/first", *TINY[4:], "--name", "second"]) == 0
    assert main(["explain", "runs/first", str(next((clips / "resting").iterdir())), "--output", "page.html"]) == 0
    assert f"recognized by {network}" in (tmp_path / "page.html").read_text()
