"""Ctrl-C and SIGTERM: the first signal asks long work to stop where it can be resumed, the second stops it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_STOP = (signal.SIGINT, signal.SIGTERM)


class StopSignal(threading.Event):
    """An event that the first signal in the block sets, calling `then`; the second one raises KeyboardInterrupt."""

    def __init__(self, then: Callable[[], None] | None = None):
        super().__init__()
        self._then = then
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def take(self) -> None:
        """Install the handlers, or reinstall them after another library has replaced them."""
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in _STOP:
                before = signal.signal(number, self._on_signal)
                self._before.setdefault(number, before)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.is_set():
            raise KeyboardInterrupt
        self.set()
        if self._then is not None:
            self._then()


def interrupt_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does, for the rest of the process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def ignore_signals() -> None:
    """Leave Ctrl-C and SIGTERM to the parent process, for the rest of this process."""
    for number in _STOP:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def handling(number: int, handler: Any) -> Iterator[None]:
    """Handle one signal differently inside the block; outside the main thread, where Python forbids it, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def first_process() -> bool:
    """Return true in the first process of a run on several devices, the only one that writes and prints."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    return os.environ.get("RANK" if launched else "LOCAL_RANK", "0") == "0"


def first_of_machine() -> bool:
    """Return true in the first process of a run on its machine, the one that prints errors there."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
