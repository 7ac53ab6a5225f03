"""Addresses of the web: those under an allowed prefix are downloaded, what leads elsewhere is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from teinet.errors import ConfigError
from teinet.serving.allowed import Allowed
from teinet.serving.limits import Refused
from tests.serving.conftest import left_over
from tests.serving.test_app import same


class Handler(BaseHTTPRequestHandler):
    """Answers /videos/NAME with a file, /videos/to?ADDRESS with a redirect, /videos/endless without an end."""

    def __init__(self, videos: Path, asked: list[str], *args):
        self.videos, self.asked = videos, asked
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        path, _, query = self.path.partition("?")
        if path == "/videos/to":
            self.send_response(302)
            self.send_header("Location", query)
            self.end_headers()
        elif path == "/videos/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(10_000))
            except OSError:
                pass
        elif (file := self.videos / path.rpartition("/")[2]).is_file():
            self.send_response(200)
            self.end_headers()
            self.wfile.write(file.read_bytes())
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@contextmanager
def web(videos: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve videos; give the address and a list of what was asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, videos, asked))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_addresses_of_the_web(client, recognizer, videos):
    with web(videos) as (site, asked), web(videos) as (other, not_asked):
        server = client(allow=[f"{site}/videos/"], limits={"upload_mb": 0.05})

        def ask(address: str):
            return server.post("/predict", json={"address": address})

        same(ask(f"{site}/videos/1.mp4").json(), recognizer(videos / "1.mp4").to_dict())
        same(ask(f"{site}/videos/to?{site}/videos/2.mp4").json(), recognizer(videos / "2.mp4").to_dict())
        for address, code in (
            (f"{site}/videos/no.mp4", 422),
            (f"{site}/videos/endless", 413),
            (f"{site}/videos/to?{site}/videos/to?{other}/videos/1.mp4", 403),
            (f"{site}/videos/to?file:///etc/passwd", 403),
            (f"{site}/videos/to?{site}/private/1.mp4", 403),
            (f"{other}/videos/1.mp4", 403),
            (f"{site}/1.mp4", 403),
        ):
            answer = ask(address)
            assert answer.status_code == code and list(answer.json()) == ["error"], (address, answer.text)
        assert not not_asked and not any(path.startswith("/private") for path in asked) and not left_over(server)
    assert ask(f"{site}/videos/1.mp4").status_code == 422  # the site is gone


@pytest.mark.parametrize("address", [
    "http://host/videos/1.mp4", "HTTP://HOST:80/videos/a/b.mp4?token=x", "http://host/videos", "http://me:pw@host/videos/1",
])  # fmt: skip
def test_an_address_under_the_prefix_is_allowed(address):
    for prefix in ("http://host/videos", "http://host:80/videos/", "http://host/"):
        assert Allowed([prefix]).check(address) == address


@pytest.mark.parametrize("address", [
    "http://host/videos/../x", "http://host/videos/%2e%2e/x", "http://host/videos/%252e%252e/x", "http://host/videosx",
    "http://host/videos\\..\\x", "http://host/videos/..%2fx", "http://host/videos/%5c../x", "http://host/videos/./x",
    "http://host:81/videos/x", "https://host/videos/x", "http://host.evil/videos/x", "http://host@evil/videos/x",
    "http://evil/http://host/videos/x", "http://host/videos/x#y", "http:///videos/x", "http://host/videos/\nx",
    "http://host /videos/x", "ftp://host/videos/x", "file:///videos/x", "gopher://host/videos/x", "http:/host/videos/x",
    "http://host:port/videos/x", "http://[host/videos/x", "//host/videos/x", "videos/x", "rtsp://host/videos/x",
    "http://h\u00f6st/videos/x", "data://host/videos/x", "", "http://host/videos/\u2025/x",
])  # fmt: skip
def test_another_address_is_refused(address):
    with pytest.raises(Refused) as error:
        Allowed(["http://host/videos", "rtsp://host/videos"]).check(address)
    assert error.value.code == 403


def test_cameras_and_rtsp_are_for_live_video_alone():
    allowed = Allowed(["rtsp://10.0.0.7/", "camera:1"])
    for address in ("rtsp://10.0.0.7/door", "camera:1"):
        assert allowed.check(address, live=True) == address
        with pytest.raises(Refused):
            allowed.check(address)
    for address in ("rtsp://10.0.0.8/door", "camera", "camera:2", "/dev/video0"):
        with pytest.raises(Refused):
            allowed.check(address, live=True)


@pytest.mark.parametrize("prefix", ["ftp://host/", "/no/such/folder", "http://", "http://host/../x", ""])
def test_a_prefix_that_means_nothing_is_an_error(prefix):
    with pytest.raises(ConfigError):
        Allowed([prefix])
