"""The image that a run leaves: at its end, when it is stopped, and never at the cost of the run."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from teinet.errors import Interrupted, RunError
from teinet.training.callbacks import CURVES, CurvesPlot

LOG = "epoch,step,lr,loss,top1,val_top1,val_loss,seconds,data_share\n1,3,0.01,1.1,0.4,0.3,1.2,4.0,0.1\n"
FIRST = SimpleNamespace(is_global_zero=True)


@pytest.fixture
def image(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path / CURVES


def test_it_is_drawn_at_the_end_and_when_stopped(image):
    CurvesPlot(image.parent).on_train_end(FIRST, None)
    assert image.read_bytes().startswith(b"\x89PNG")
    for reason in (Interrupted("stopped"), RunError("the loss is nan")):
        image.unlink()
        CurvesPlot(image.parent).on_exception(FIRST, None, reason)
        assert image.read_bytes().startswith(b"\x89PNG")


def test_it_is_not_drawn_in_a_hurry_nor_twice_nor_of_nothing(image):
    CurvesPlot(image.parent).on_exception(FIRST, None, KeyboardInterrupt())  # a second Ctrl-C stops at once
    CurvesPlot(image.parent).on_train_end(SimpleNamespace(is_global_zero=False), None)  # another process's work
    (image.parent / "log.csv").write_text(LOG.splitlines()[0])
    CurvesPlot(image.parent).on_train_end(FIRST, None)
    assert not image.exists()


def test_a_image_that_cannot_be_written_stops_nothing(image, caplog):
    image.mkdir()
    (image / "mine").touch()
    with caplog.at_level(logging.WARNING, "teinet"):
        CurvesPlot(image.parent).on_train_end(FIRST, None)
    (record,) = caplog.records
    assert str(image) in record.getMessage() and "cannot be written" in record.getMessage()
