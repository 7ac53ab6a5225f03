"""The live page of `teinet watch`: each source's last frame, scores and events."""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np

from teinet.errors import ConfigError
from teinet.pages.render import PAGE_HEADERS, jpeg, render

if TYPE_CHECKING:
    from teinet.detection.monitor import Notice, Watch

_SHOWN = 5  # classes of a source
_KEPT = 100  # notices
_WIDTH = 640  # largest side of an image, pixels
_HERE = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 32  # at once; the oldest gives way to a new one
_PATIENCE = 10.0  # seconds for a browser that sends or reads nothing
_REQUEST = 1 << 17  # bytes, with its headers
_FRESH = 0.1  # seconds for which a state is sent again to other browsers


class Page:
    """The content of the page; `add` each notice as it comes."""

    def __init__(self, watch: Watch):
        self._watch = watch
        self._id = secrets.token_hex(8)
        self._notices: deque[dict] = deque(maxlen=_KEPT)
        self._count = 0
        self._lock = Lock()  # what several browsers ask for is computed once
        self._state, self._state_until = b"", 0.0
        self._images: dict[int, tuple[np.ndarray, bytes]] = {}

    def add(self, notice: Notice) -> None:
        """Add a notice to the log."""
        self._count += 1
        self._notices.append({"number": self._count, **notice.to_dict()})

    def html(self) -> str:
        """Return the page, which polls `state` and the frames."""
        return render("live.html.jinja", filters={}, watch=self._id, sources=self._watch.sources)

    def state(self) -> dict[str, Any]:
        """Return all sources and the recent notices as JSON values."""
        watch = self._watch
        sources = []
        for number, name in enumerate(watch.sources):
            view = watch.view(number)
            scores = np.zeros(0) if view.scores is None else view.scores
            best = np.argsort(-scores)[:_SHOWN]
            sources.append(
                {
                    "name": name,
                    "time": view.time,
                    "scores": [[watch.class_names[i], round(float(scores[i]), 4)] for i in best],
                    "event": None if view.event is None else view.event.label,
                    "counts": asdict(watch.counts(number)),
                }
            )
        return {"watch": self._id, "sources": sources, "notices": list(self._notices)}

    def state_json(self) -> bytes:
        """Return the state as JSON, a tenth of a second old at most."""
        with self._lock:
            if time.monotonic() >= self._state_until:
                self._state = json.dumps(self.state()).encode()
                self._state_until = time.monotonic() + _FRESH
            return self._state

    def image(self, number: int) -> bytes | None:
        """Return the last frame of a source as JPEG; None before the first one."""
        image = self._watch.view(number).image if number < len(self._watch.sources) else None
        if image is None:
            return None
        with self._lock:
            if number not in self._images or self._images[number][0] is not image:
                self._images[number] = image, jpeg(image, _WIDTH)
            return self._images[number][1]


@contextmanager
def serve(watch: Watch, address: str) -> Iterator[tuple[Page, str]]:
    """Serve the page while the block runs; yield the page, to add notices to, and its URL.

    Args:
        address: PORT, for this machine alone, or HOST:PORT ([::1]:PORT); port 0 takes a free one.

    Raises:
        ConfigError: the address is invalid, or its port is in use.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"the address of the live page is {address!r}; it must be PORT or HOST:PORT")
    shown = f"[{host}]" if ":" in host else host
    page = Page(watch)
    try:
        server = (_Server6 if ":" in host else _Server)((host, int(port)), _handler(page, host))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot serve at {shown}:{port} ({reason}); choose another address") from None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="live page", daemon=True)
    thread.start()
    try:
        yield page, f"http://{shown}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """A server with a bounded number of connections, each of which has a thread."""

    daemon_threads = True
    request_queue_size = 2 * _CONNECTIONS

    def __init__(self, *args: Any):
        self._connections: list[socket.socket] = []
        self._lock = Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; close the oldest connection if there are too many."""
        with self._lock:
            self._connections.append(request)
            if len(self._connections) > _CONNECTIONS:
                with suppress(OSError):  # it has gone
                    self._connections.pop(0).shutdown(socket.SHUT_RDWR)  # which ends its thread
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was answered."""
        with self._lock:
            if request in self._connections:
                self._connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore closed connections."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Request:
    """The bytes of a request, up to a limit."""

    def __init__(self, file: BinaryIO):
        self._file, self._left = file, _REQUEST

    def readline(self, size: int) -> bytes:
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("headers")
        return line

    def close(self) -> None:
        self._file.close()


def _handler(page: Page, host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE

        def setup(self) -> None:
            super().setup()
            self.rfile: Any = _Request(self.rfile)

        def version_string(self) -> str:
            return "teinet"

        def do_GET(self) -> None:
            if not self._has_own_host():
                self._answer(403, "text/plain", b"this page is served under another host name\n")
                return
            path = self.path.partition("?")[0]
            if path == "/":
                self._answer(200, "text/html; charset=utf-8", page.html().encode())
            elif path == "/state":
                self._answer(200, "application/json", page.state_json())
            elif (found := re.fullmatch(r"/image/(\d{1,6})", path)) and (jpeg := page.image(int(found[1]))):
                self._answer(200, "image/jpeg", jpeg)
            else:
                self._answer(404, "text/plain", b"not found\n")

        def _has_own_host(self) -> bool:
            """Return true if the browser asked for this host, which prevents DNS rebinding by foreign pages."""
            if host not in _HERE:
                return True  # served to others on purpose, under unknown names
            try:
                return urlsplit(f"//{self.headers.get('Host', '')}").hostname in _HERE
            except ValueError:
                return False

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in PAGE_HEADERS.items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # the browser has disconnected
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Print nothing: the terminal shows the watch."""

    return Handler
