"""`teinet info`: what a bug report needs, as it is on this machine."""

from __future__ import annotations

import json
import platform

import torch

from teinet import __version__
from teinet.cli.main import main


def test_it_says_versions_devices_kernels_and_folders(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path))
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["teinet"] == __version__ and facts["versions"]["python"] == platform.python_version()
    assert torch.__version__.startswith(facts["versions"]["torch"]) and facts["machine"]["cores"] >= 1
    assert facts["versions"]["libavcodec"] and facts["folders"]["cache"] == str(tmp_path)
    assert facts["kernels"]["reference"] == "runs" and facts["extras"]["train"] == "installed"
    assert ("cuda:0" in facts["machine"]["devices"]) == torch.cuda.is_available()


def test_it_says_why_a_kernel_does_not_run(teinet, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "empty"))
    done = teinet("info")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  cpu")]
    assert "no C++ compiler found (no-such-compiler)" in line
