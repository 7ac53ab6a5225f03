"""Training that waits for its clips says so, with what helps on this machine and with these clips, and does not nag."""

from __future__ import annotations

from dataclasses import replace

import pytest

from teinet.cli.main import main
from teinet.training import waiting
from teinet.training.waiting import Feeding, Restraint, advice
from tests.conftest import small

SMALL = Feeding(workers=4, devices=1, cores=8, short_side=240, used=256)


@pytest.mark.parametrize(
    ("feeding", "says"),
    [
        (SMALL, "give it more workers (--run.workers 8; this machine has 8 cores)"),
        (replace(SMALL, workers=2), "give it more workers (--run.workers 4; this machine has 8 cores)"),
        (replace(SMALL, workers=1, devices=4), "give it more workers (--run.workers 2; this machine has 8 cores)"),
        (replace(SMALL, workers=0), "give it workers to read them (--run.workers 7; this machine has 8 cores)"),
        (
            replace(SMALL, short_side=720),
            "give it more workers (--run.workers 8; this machine has 8 cores), or shrink the videos once "
            "(teinet data shrink; their short side has 720 pixels, 256 are used)",
        ),
        (
            replace(SMALL, workers=8, short_side=1080, pictures=True),
            "8 cores at work already; shrink the pictures once (teinet data shrink; their short side has 1080 pixels, "
            "256 are used)",
        ),
        (
            replace(SMALL, workers=8),
            "8 cores at work already; what helps is a faster disk or more cores",
        ),
        (
            replace(SMALL, workers=1, cores=1, pictures=True, short_side=None),
            "1 core at work already; what helps is a fast local disk for so many small files",
        ),
    ],
)
def test_what_helps_is_said(feeding, says):
    assert advice(0.43, feeding) == f"waiting for clips took 43 % of this epoch: {says}"


def test_an_epoch_that_counted_frames_is_no_measure_of_the_next():
    assert "of this epoch (the first epoch also counts" in advice(0.43, replace(SMALL, counting=True))


@pytest.mark.parametrize("share", [0.201, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("workers", range(9))
def test_the_number_of_workers_is_a_new_one_that_the_machine_has(workers, share):
    text = advice(share, replace(SMALL, workers=workers))
    assert workers == 8 or workers < int(text.split("--run.workers ")[1].split(";")[0]) <= 8


def test_it_speaks_when_it_is_worth_it_and_does_not_nag():
    def spoken(shares, seconds_left=3600.0):
        restraint = Restraint()
        return [e for e, s in enumerate(shares) if restraint.speaks(s, epoch=e, seconds_left=seconds_left)]

    assert spoken([0.43] * 50) == [0]
    assert spoken([0.1, 0.2, 0.25, 0.1]) == [2]
    assert spoken([0.3, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]) == [0, 5], "worse, but not at every epoch"
    assert spoken([0.3] * 6 + [0.35] * 6) == [0], "hardly worse"
    assert spoken([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3]) == [0]
    assert spoken([0.9] * 9, seconds_left=30.0) == [], "half a minute is not worth a word"


def test_a_run_says_it_once(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "SECONDS", 0)
    monkeypatch.setattr(waiting, "SHARE", 0.0)
    words = small(clips, "--output", tmp_path, "--name", "run", "--epochs", 3)
    assert main(["train", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("waiting for clips took ")]
    assert lines[number - 1].startswith("epoch 1/3") and "--run.workers" in lines[number]
