"""Training that waits for its clips says so, with what helps on this machine and with these clips, and does not nag."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from teinet.cli.main import main
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import to_clips
from teinet.training import waiting
from teinet.training.recipe import Recipe
from teinet.training.waiting import WaitingAdvice, advice
from tests.conftest import CLASSES, small

SMALL = {"workers": 4, "devices": 1, "cores": 8, "short_side": 240, "used": 256, "images": False, "first": False}


@pytest.mark.parametrize(
    ("feeding", "says"),
    [
        ({}, "give it more workers (--run.workers 8; this machine has 8 cores)"),
        ({"workers": 2}, "give it more workers (--run.workers 4; this machine has 8 cores)"),
        ({"workers": 1, "devices": 4}, "give it more workers (--run.workers 2; this machine has 8 cores)"),
        ({"workers": 0}, "give it workers to read them (--run.workers 7; this machine has 8 cores)"),
        (
            {"short_side": 720},
            "give it more workers (--run.workers 8; this machine has 8 cores), or shrink the videos once "
            "(teinet data shrink; their short side has 720 pixels, 256 are used)",
        ),
        (
            {"workers": 8, "short_side": 1080, "images": True},
            "8 cores at work already; shrink the images once (teinet data shrink; their short side has 1080 pixels, "
            "256 are used)",
        ),
        ({"workers": 8}, "8 cores at work already; what helps is a faster disk or more cores"),
        (
            {"workers": 1, "cores": 1, "images": True, "short_side": None},
            "1 core at work already; what helps is a fast local disk for so many small files",
        ),
    ],
)
def test_what_helps_is_said(feeding, says):
    assert advice(0.43, **SMALL | feeding) == f"waiting for clips took 43 % of this epoch: {says}"


def test_an_epoch_that_counted_frames_is_no_measure_of_the_next():
    assert "of this epoch (the first one counts the frames" in advice(0.43, **SMALL | {"first": True})


@pytest.mark.parametrize("share", [0.201, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("workers", range(9))
def test_the_number_of_workers_is_a_new_one_that_the_machine_has(workers, share):
    text = advice(share, **SMALL | {"workers": workers})
    assert workers == 8 or workers < int(text.split("--run.workers ")[1].split(";")[0]) <= 8


@pytest.mark.parametrize(
    ("shares", "minutes", "speaks"),
    [
        ([0.43] * 50, 60, [0]),  # once
        ([0.1, 0.2, 0.25, 0.1], 60, [2]),
        ([0.9] * 9, 0.5, []),  # half a minute is not worth a word
    ],
)
def test_it_speaks_once_and_when_it_is_worth_it(clips, shares, minutes, speaks):
    said = io.StringIO()
    log = SimpleNamespace(sums={})
    listed = to_clips(read_listing(clips).rows, CLASSES, source=clips)
    advising = WaitingAdvice(Console(file=said), log, recipe=Recipe(), clips=listed, workers=1)
    heard = []
    for epoch, share in enumerate(shares):
        log.sums |= {"wait": 60 * minutes * share, "compute": 60 * minutes * (1 - share)}
        trainer = SimpleNamespace(is_global_zero=True, current_epoch=epoch, max_epochs=epoch + 2)
        advising.on_train_epoch_end(trainer, None)
        heard.append(said.tell())
    assert [e for e, count in enumerate(heard) if count > ([0, *heard])[e]] == speaks


def test_a_run_says_it_once(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "SECONDS", 0)
    monkeypatch.setattr(waiting, "SHARE", 0.0)
    words = small(clips, "--output", tmp_path, "--name", "run", "--epochs", 2)
    assert main(["train", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("waiting for clips took ")]
    assert lines[number - 1].startswith("epoch 1/2") and "--run.workers" in lines[number]
