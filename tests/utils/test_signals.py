"""Signals: the first asks, the second raises, and the handlers of before come back."""

from __future__ import annotations

import signal

import pytest

from teinet.utils.signals import StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number):
    before, told = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt), StopSignal(lambda: told.append(True)) as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set() and told == [True]
        signal.raise_signal(number)
    assert signal.getsignal(number) is before and told == [True]


def test_handlers_put_over_it_are_taken_back():
    """As a trainer does, which saves the handlers, wraps them, and restores them."""
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.take()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
