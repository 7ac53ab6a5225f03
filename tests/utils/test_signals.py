"""Signals: the first asks, the second raises, and the handlers of before come back."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from teinet.utils.signals import StopSignal
from tests.conftest import environment

TWICE = """
import signal, sys
from teinet.utils.signals import StopSignal

number = int(sys.argv[1])
before, told = signal.getsignal(number), []
try:
    with StopSignal(lambda: told.append(True)) as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set() and told == [True]
        signal.raise_signal(number)
    raise AssertionError("the second one did not stop")
except KeyboardInterrupt:
    assert signal.getsignal(number) is before and told == [True]
print("as said")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number):
    """In a process of its own: one that has run other tests has threads of many libraries."""
    words = [sys.executable, "-c", TWICE, str(int(number))]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "as said"), done.stderr


def test_handlers_put_over_it_are_taken_back():
    """As a trainer does, which saves the handlers, wraps them, and restores them."""
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.take()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
