"""Damaged inputs in small: no command crashes on them; and what a campaign looks for is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import campaign, same_frames
from benchmarks.damaged_inputs import KINDS, kind_of
from teinet.data.video.reader import VideoReader
from tests import miniatures
from tests.conftest import environment

IN_A_PROCESS_OF_ITS_OWN = """
import json, os, signal, tempfile, time
from pathlib import Path
from benchmarks.campaign import Campaign, Input, Step, campaign
inputs = (Input(0, "lists", "x", ""),)
steps = [Step("dies", inputs, lambda out: os.kill(os.getpid(), signal.SIGSEGV)), Step("fine", inputs, lambda out: 0),
         Step("hangs", inputs, lambda out: time.sleep(60), 0.1), Step("raises", inputs, lambda out: 1 // 0)]
with tempfile.TemporaryDirectory() as name:
    (Path(name) / "out").mkdir()
    found = Campaign(None)._execute(steps, Path(name), show=False)
print(json.dumps([{step.name: trouble.splitlines()[-1] for step, trouble in found}, campaign(20, seed=1)[1]]))
"""


def test_commands_end_in_words_and_processes_that_do_not_are_found():
    words = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN]  # this one has threads and must not fork
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    planted, numbers = json.loads(done.stdout.splitlines()[-1])
    assert planted.pop("dies").startswith("the process ended with -11") and planted.pop("hangs").startswith("timed out")
    assert planted == {"raises": "ZeroDivisionError: integer division or modulo by zero"}
    assert numbers["failures"] == {} and sum(numbers["inputs"].values()) == 20 and set(numbers["inputs"]) == set(KINDS)
    assert numbers["videos_compared"] > 3 and {"predict", "timeline", "watch"} < set(numbers["exit_codes"])


@pytest.mark.parametrize(("code", "said", "file", "wrong"), [
    (0, "fine", "", ""), (2, "teinet predict: a.mp4: no such file", "", ""), (0, "x", "a.json", "wrote a.json"),
    (70, "", "", "exit code 70"), (1, "", "", "exit code 1 without a word"), (0, "x", "a.part", "ends in .part"),
    (1, "a.mp4: IndexError: list index out of range", "", "said 'a.mp4: IndexError"),
    (0, "x.py:3: RuntimeWarning: mean of empty slice", "", "RuntimeWarning"),
])  # fmt: skip
def test_what_is_wrong_with_a_command(code, said, file, wrong, tmp_path):
    if file:
        (tmp_path / file).write_text("[1,")
    found = campaign.trouble_of(code, said, tmp_path)
    assert wrong in found and bool(found) == bool(wrong)


def test_other_frames_than_ffmpegs_are_found(tmp_path, monkeypatch):
    path = str(miniatures.encode(tmp_path / "a.mkv", miniatures.frames(0, 25), "ffv1"))
    assert same_frames.difference(path, random.Random(0)) == ""
    right = VideoReader(path).frames_at([3, 4])
    wrong = right._replace(indices=np.array([3, 5]), times=np.zeros(2))
    with monkeypatch.context() as patch:
        patch.setattr(VideoReader, "sample", lambda *_: wrong)
        assert same_frames.difference(path, random.Random(0)) == "frame 5 of 25 differs"
    monkeypatch.setattr(VideoReader, "__len__", lambda _: 24)
    assert same_frames.difference(path, random.Random(0)) == "24 frames, FFmpeg decodes 25"


def test_inputs_of_all_kinds_alternate():
    assert {kind_of(number) for number in range(20)} == set(KINDS)
