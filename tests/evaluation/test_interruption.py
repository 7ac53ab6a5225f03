"""Ctrl-C and SIGTERM in the middle of a test, sent to the command as it runs: one line, exit code 130, all stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.networks import small_recognizer

CLIPS = 3000  # far more than are tested before the signal comes

# The command, which notes each clip that it begins to read, and takes its time.
PROGRAM = """
import os, sys, time
from teinet.cli.main import main
from teinet.evaluation.evaluate import ViewClips

read = ViewClips.__getitem__

def slow(self, index):
    with open("read-" + os.environ.get("LOCAL_RANK", "0"), "a") as file:
        file.write("x")
    time.sleep(float(os.environ["SECONDS_A_CLIP"]))
    return read(self, index)

ViewClips.__getitem__ = slow
sys.exit(main())
"""


@pytest.fixture
def begin(clips, tmp_path):
    """Start `teinet test` on 3000 clips, one a step; returns the process when each of its ranks has read four."""
    small_recognizer().save(tmp_path / "net.safetensors")
    video = next(clips.rglob("*.mp4"))
    (tmp_path / "list.csv").write_text("path,label\n" + f"{video},resting\n" * CLIPS)
    (tmp_path / "program.py").write_text(PROGRAM)
    started: list[subprocess.Popen] = []

    def start(*words: str, seconds: float = 0.02, ranks: int = 1, clips_read: int = 4) -> subprocess.Popen:
        more = ["--device", "cpu", "--batch-size", "1", "--devices", str(ranks), "--output", "out", *words]
        process = subprocess.Popen(
            [sys.executable, "program.py", "test", "net.safetensors", "--data", "list.csv", *more],
            cwd=tmp_path,
            env={**environment(), "SECONDS_A_CLIP": str(seconds)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, as a terminal gives it
        )
        started.append(process)
        notes, until = [tmp_path / f"read-{rank}" for rank in range(ranks)], time.monotonic() + 90
        while not all(note.exists() and note.stat().st_size >= clips_read for note in notes):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        if group_lives(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def group_lives(process: subprocess.Popen) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def assert_stopped(process: subprocess.Popen, folder: Path) -> None:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert out == ""
    (line,) = errors.strip().splitlines()
    done = re.fullmatch(rf"teinet test: stopped after (\d+) of {CLIPS} clips; .* start the test again", line)
    read = sum(note.stat().st_size for note in folder.glob("read-*"))
    assert done and 0 < int(done[1]) <= read < CLIPS
    assert not (folder / "out").exists()
    until = time.monotonic() + 20
    while group_lives(process):  # the other processes and the workers
        assert time.monotonic() < until, "some process goes on"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "0")])
def test_one_signal_stops_after_the_running_batch(begin, tmp_path, number, workers):
    process = begin("--workers", workers)
    os.killpg(process.pid, number)  # a terminal, and most who end services, tell the workers too
    assert_stopped(process, tmp_path)


def test_a_second_ctrl_c_stops_at_once(begin, tmp_path):
    process = begin("--workers", "0", seconds=300, clips_read=1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)  # a fifth of the running clip
    assert process.returncode == 130 and out == ""
    (line,) = errors.strip().splitlines()
    assert line.startswith(f"teinet test: stopped after 0 of {CLIPS} clips")


def test_two_processes_stop_together(begin, tmp_path):
    process = begin("--workers", "0", ranks=2)
    process.send_signal(signal.SIGTERM)  # to the first of them alone
    assert_stopped(process, tmp_path)
