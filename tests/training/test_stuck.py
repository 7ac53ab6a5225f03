"""A file on which reading hangs inside C ends the run with its name, and leaves no process behind."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.utils.data._utils import signal_handling

from teinet.cli.main import main
from teinet.data.video.reader import VideoReader
from tests.conftest import small
from tests.networks import small_recognizer

Meet = Callable[[], None]  # what happens to the process that reads the bad clip


def hang() -> None:
    while True:
        ctypes.CDLL(None).pause()  # in C: Python's handlers do not run


@pytest.fixture
def bad(clips, monkeypatch) -> Callable[..., Path]:
    """Give a clip on which reading meets with something, in training and in a test; others are read as ever."""
    path = clips / "resting" / "2.mp4"

    def make(meet: Meet = hang) -> Path:
        read = VideoReader.sample

        def sample(reader, *args, **settings):
            if reader.path == str(path):
                meet()
            return read(reader, *args, **settings)

        monkeypatch.setattr(VideoReader, "sample", sample)
        return path

    return make


@pytest.fixture
def listed(clips, tmp_path) -> Callable[[Path, str], Path]:
    """Write a list of the drawn clips to train and validate on, with one of them in a split of its own."""

    def write(one: Path, split: str) -> Path:
        rows = [(p, p.parent.name, "val" if p.stem == "3" else "train") for p in sorted(clips.rglob("*.mp4"))]
        lines = [f"{p},{label},{split if p == one else usual}" for p, label, usual in rows]
        (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *lines]))
        return tmp_path / "clips.csv"

    return write


def children() -> list[str]:
    """This process's children that still run, from the system itself; multiprocessing's own tracker is none of ours."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            if f"PPid:\t{os.getpid()}\n" in text and "State:\tZ" not in text:
                command = (status.parent / "cmdline").read_text()
                found += [command] * ("resource_tracker" not in command and "forkserver" not in command)
        except OSError:
            pass
    return found


@pytest.fixture
def nobody_left(monkeypatch):
    # torch hears of a worker's end at once in a fresh process. In one that trained before, it asks every five seconds:
    # Lightning has put back the signal handlers that it found, and torch believes that its own is in place.
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    before = children()
    yield
    assert children() == before and multiprocessing.active_children() == []


def test_a_training_clip(listed, bad, tmp_path, capfd, nobody_left):
    path = bad()
    words = small(listed(path, "train"), "--output", tmp_path, "--name", "run", "--workers", 2, "--epochs", 1)
    assert main(["train", *words, "--run.read_timeout", "1"]) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("teinet train: ") and f"{path} (" in line and " s)" in line and "--run.read_timeout" in line
    assert line.count(".mp4 (") == 1, "files that were read well are named"
    assert f"No state of {tmp_path / 'run'} was saved yet; the same command begins again" in line


def test_a_validation_clip_after_which_the_run_goes_on(listed, bad, tmp_path, capfd, monkeypatch, nobody_left):
    path = bad()
    words = small(listed(path, "val"), "--output", tmp_path, "--name", "run", "--workers", 1, "--epochs", 1)
    assert main(["train", *words, "--run.read_timeout", "1", "--run.save_every_steps", "1"]) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert f"{path} (" in line and line.endswith(f"continue with: teinet train --resume {tmp_path / 'run'}")
    monkeypatch.undo()  # the disk answers again
    assert main(["train", "--resume", str(tmp_path / "run"), "--run.read_timeout", "60"]) == 0
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 2


@pytest.fixture
def tested(clips, tmp_path, listed, capfd) -> Callable[..., tuple[int, list[str]]]:
    """Run `teinet test` on one clip; returns the exit code and the lines on stderr."""
    small_recognizer().save(tmp_path / "net.safetensors")

    def call(path: Path, *words: object) -> tuple[int, list[str]]:
        data = ["--data", listed(path, "test"), "--split", "test", "--device", "cpu", "--output", tmp_path / "out"]
        capfd.readouterr()
        code = main(["test", str(tmp_path / "net.safetensors"), *map(str, [*data, *words])])
        return code, capfd.readouterr().err.strip().splitlines()

    return call


def test_a_tested_clip(tested, bad, tmp_path, nobody_left):
    path = bad()
    code, (line,) = tested(path, "--workers", 1, "--read-timeout", 1)
    assert code == 1 and line.startswith("teinet test: ")
    assert f"{path} (" in line and "--read-timeout" in line and "Partial results are not kept" in line
    assert not (tmp_path / "out").exists()


def test_a_clip_that_crashes_its_reader(tested, bad, nobody_left):
    path = bad(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    code, lines = tested(path, "--workers", 1)
    assert code == 1 and f"{path}: the process reading it died" in lines[-1]  # torch speaks first


def test_a_slow_clip_is_no_stuck_one(tested, bad):
    path = bad(lambda: time.sleep(0.7))
    assert tested(path, "--workers", 1, "--read-timeout", 20) == (0, [])
    assert tested(path, "--workers", 1, "--read-timeout", 0) == (0, [])
    code, (line,) = tested(path, "--workers", 1, "--read-timeout", -1)
    assert code == 2 and "--read-timeout is -1.0; it must be at least 0" in line
