"""The small form of `benchmarks.power_cuts`: some cuts of the quickest command, and what counts as cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.power_cuts import unreadable
from tests import miniatures
from tests.conftest import environment


def test_cuts_of_a_conversion_and_a_small_disk_leave_nothing_half_written():
    words = ["-m", "benchmarks.power_cuts", "--jobs", "convert", "--kills", "4", "--disks", "1"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0 and "4 cuts, 0 failures" in done.stdout, done.stdout + done.stderr


def test_a_file_that_is_cut_off_under_its_final_name_is_found(tmp_path):
    save_file({"a": torch.ones(9)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.ones(9)}, tmp_path / "a.ckpt")
    miniatures.write(tmp_path / "a.mp4", 0)
    for name, text in (("a.json", "[1]"), ("a.csv", "x,y\n"), ("a.yaml", "a: 1\n"), ("a.html", "<p>x</p>\n")):
        (tmp_path / name).write_text(text)
    assert unreadable(tmp_path) == []
    for path in list(tmp_path.iterdir()):
        path.write_bytes(path.read_bytes()[: -max(2, path.stat().st_size // 3)])
        path.with_name(f".{path.name}.part").write_bytes(b"")  # has no final name yet
    assert [line.partition(":")[0] for line in unreadable(tmp_path)] == sorted(
        f"a.{suffix}" for suffix in ("safetensors", "ckpt", "mp4", "json", "csv", "yaml", "html")
    )
