"""Training that waits for its clips says so, with what helps on this machine and with these clips, and does not nag."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from teinet.cli.main import main
from teinet.training import data_wait
from teinet.training.data_wait import WaitingAdvice, advice
from teinet.training.recipe import Recipe
from tests.conftest import small

SHRINK = "shrink the videos once (teinet data shrink; their short side has {} pixels, 256 are used)"


@pytest.mark.parametrize(
    ("workers", "most", "short_side", "says"),
    [
        (2, 8, 240, "use more workers (--workers 8)"),
        (0, 1, 0, "use more workers (--workers 1)"),
        (4, 8, 720, f"use more workers (--workers 8), or {SHRINK.format(720)}"),
        (8, 8, 1080, SHRINK.format(1080)),
        (8, 8, 240, "all cores are busy; a faster disk or more cores help"),
    ],
)
def test_what_helps_is_said(workers, most, short_side, says):
    text = advice(0.43, workers=workers, most=most, short_side=short_side, used=256)
    assert text == f"waiting for clips took 43 % of this epoch: {says}"


@pytest.mark.parametrize(
    ("shares", "minutes", "speaks"),
    [
        ([0.43] * 50, 60, [0]),  # once
        ([0.1, 0.2, 0.25, 0.1], 60, [2]),
        ([0.9] * 9, 0.5, []),  # half a minute is not worth a word
    ],
)
def test_it_speaks_once_and_when_it_is_worth_it(shares, minutes, speaks):
    said = io.StringIO()
    log = SimpleNamespace(sums={})
    advising = WaitingAdvice(Console(file=said), log, recipe=Recipe(), example="absent.mp4", workers=1)
    heard = []
    for epoch, share in enumerate(shares):
        log.sums |= {"wait": 60 * minutes * share, "compute": 60 * minutes * (1 - share)}
        trainer = SimpleNamespace(is_global_zero=True, current_epoch=epoch, max_epochs=epoch + 2)
        advising.on_train_epoch_end(trainer, None)
        heard.append(said.tell())
    assert [e for e, count in enumerate(heard) if count > ([0, *heard])[e]] == speaks


def test_a_run_says_it_once(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_wait, "SECONDS", 0)
    monkeypatch.setattr(data_wait, "SHARE", 0.0)
    words = small(clips, "--output", tmp_path, "--name", "run", "--epochs", 2)
    assert main(["train", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("waiting for clips took ")]
    assert lines[number - 1].startswith("epoch 1/2")
