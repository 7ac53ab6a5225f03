"""A server process: a socket, uvicorn, and an end that loses no request."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import uvicorn
from fastapi import FastAPI

from teinet.errors import ConfigError
from teinet.utils.signals import StopSignal

_CONNECTIONS = 512  # at once; others are answered 503
_BACKLOG = 256


@contextmanager
def bound(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """Give a socket at an address inside the block, and its URL; port 0 takes a free one.

    Raises:
        ConfigError: the address does not exist, or its port is in use.
    """
    shown = f"[{host}]" if ":" in host else host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # elsewhere it would take a port from another server
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))  # it listens when the models are loaded
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot serve at {shown}:{port} ({reason}); choose another --port or --host") from None
    with listener:
        yield listener, f"http://{shown}:{listener.getsockname()[1]}/"


class _Server(uvicorn.Server):
    def capture_signals(self):  # StopSignal has them
        return nullcontext()

    def install_signal_handlers(self) -> None:
        """Older versions of uvicorn call this."""


def run(app: FastAPI, listener: socket.socket, *, seconds: float, started: Callable[[], object]) -> None:
    """Serve until Ctrl-C or SIGTERM, and then until the requests in work are answered, for some seconds at most.

    A second signal raises KeyboardInterrupt.

    Args:
        listener: a bound socket.
        seconds: for requests in work at the end.
        started: is called when requests are taken.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(seconds)),
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True
        app.state.service.stop()

    gc.collect()
    gc.freeze()  # libraries and weights: looking through them again and again would take a sixth of the time
    with StopSignal(stop):
        started()
        server.run(sockets=[listener])
