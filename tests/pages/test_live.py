"""The local page: what it answers, to whom."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from teinet.detection import Watch
from teinet.detection.events import Rules
from teinet.detection.monitor import View
from teinet.errors import ConfigError
from teinet.pages.live import serve
from tests import miniatures
from tests.detection.test_recording import make


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    film = miniatures.write(tmp_path_factory.mktemp("page") / "film.mp4", 3, length=21, rate=10)
    recognizer = make("teinet", causal=True, header={"frame_interval": 0.2})
    return Watch(
        recognizer, [f"front door={film}"], fast=True, rules=Rules(threshold=0.34, off_threshold=0.3, min_duration=0.0)
    )


def test_the_page_shows_what_is_watched(watch):
    with serve(watch, "0") as (page, address):
        assert address.startswith("http://127.0.0.1:")
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}image/0")  # there is none yet
        for notice in watch:
            page.add(notice)
        html = urlopen(address).read().decode()
        assert "front door" in html and "http" not in html.split("</style>")[1]  # nothing from elsewhere
        state = json.load(urlopen(f"{address}state"))
        assert f'"{state["watch"]}"' in html
        (source,) = state["sources"]
        assert source["name"] == "front door" and source["counts"]["steps"] == 11
        assert sum(score for _, score in source["scores"]) == pytest.approx(1, abs=1e-3)
        whats = [notice["type"] for notice in state["notices"]]
        assert whats[0] == "connected" and "begin" in whats and whats[-1] == "finished"
        assert [notice["number"] for notice in state["notices"]] == list(range(1, len(whats) + 1))
        answer = urlopen(f"{address}image/0?11")
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.read())).size == (32, 32)
        for missing in ("image/1", "image/x", "etc/passwd", "../state"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(address + missing)


@pytest.mark.parametrize(("place", "begin", "own"), [("0", "127.0.0.1", "localhost:1"), ("[::1]:0", "[::1]", "[::1]")])
def test_a_foreign_name_is_refused_at_either_address(watch, place, begin, own):
    """A page elsewhere could have its own host's name lead to this machine, and read ours."""
    if not socket.has_ipv6 and "::" in place:
        pytest.skip("this machine has no IPv6")
    with serve(watch, place) as (_, address):
        assert address.startswith(f"http://{begin}:") and urlopen(f"{address}state").status == 200
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"{address}state", headers={"Host": "evil.example"}))
        assert urlopen(Request(f"{address}state", headers={"Host": own})).status == 200


def test_a_browser_that_goes_away_leaves_no_trace(watch, capsys):
    with serve(watch, "0") as (_, address):
        place = ("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))
        for words in [b"GET / HT", b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"] * 2:
            with socket.create_connection(place) as browser:
                # closed so, a connection is reset
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                browser.sendall(words)
        time.sleep(0.2)
        assert urlopen(f"{address}state").status == 200
    assert capsys.readouterr().err == ""


def test_addresses_that_are_none_are_refused(watch):
    for address in ("here", "localhost:", "99999", "no.such.host.invalid:0"):
        with pytest.raises(ConfigError, match=r"PORT|cannot serve"), serve(watch, address):
            pass
    with serve(watch, "0") as (_, address):
        port = address.rstrip("/").rpartition(":")[2]
        with pytest.raises(ConfigError, match=f"cannot serve at 127.0.0.1:{port}"), serve(watch, port):
            pass


def asked(address: str, request: bytes) -> bytes:
    """What the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", int(address.rstrip("/").rpartition(":")[2])), timeout=20) as browser:
        with suppress(OSError):  # it may hang up before it has read everything
            browser.sendall(request)
        answer = b""
        with suppress(OSError):
            while part := browser.recv(65536):
                answer += part
        return answer


OWN = b"Host: localhost\r\n"


@pytest.mark.parametrize(("request_", "status"), [
    (b"GET /../../../etc/passwd HTTP/1.1\r\n" + OWN + b"\r\n", b"404"),
    (b"GET //etc/passwd HTTP/1.1\r\n" + OWN + b"\r\n", b"404"),
    (b"GET /image/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + OWN + b"\r\n", b"404"),
    (b"GET /image/-1 HTTP/1.1\r\n" + OWN + b"\r\n", b"404"),
    (b"GET /image/" + 99 * b"9" + b" HTTP/1.1\r\n" + OWN + b"\r\n", b"404"),
    (b"GET /" + 70_000 * b"a" + b" HTTP/1.1\r\n" + OWN + b"\r\n", b"414"),
    (b"GET / HTTP/1.1\r\n" + OWN + b"X: " + 70_000 * b"a" + b"\r\n\r\n", b"431"),
    (b"GET / HTTP/1.1\r\n" + OWN + 200 * b"X: a\r\n" + b"\r\n", b"431"),
    (b"GET / HTTP/1.1\r\n" + OWN + 60 * (b"X: " + 10_000 * b"a" + b"\r\n") + b"\r\n", b"431"),
    (b"POST / HTTP/1.1\r\n" + OWN + b"Content-Length: 99999999999\r\n\r\n", b"501"),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
    (b"GET / HTTP/1.1\r\n\r\n", b"403"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", b"400"),
])  # fmt: skip
def test_what_is_not_the_page_is_refused(watch, capsys, request_, status):
    with serve(watch, "0") as (_, address):
        answer = asked(address, request_)
        assert status in answer.partition(b"\r\n")[0] or (not answer and len(request_) > 65_000)  # the rest was unread
        assert b"root:" not in answer and b"Python" not in answer
        assert urlopen(f"{address}state").status == 200
    assert capsys.readouterr().err == ""


def test_many_and_slow_connections_do_not_keep_others_out(watch, monkeypatch):
    monkeypatch.setattr("teinet.pages.live._CONNECTIONS", 8)
    before = threading.active_count()
    with serve(watch, "0") as (_, address), ExitStack() as stack:
        place = ("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))
        for _ in range(100):
            stack.enter_context(socket.create_connection(place)).sendall(b"GET / HTTP/1.1\r\nX: ")  # and no more
        for _ in range(20):
            assert urlopen(f"{address}state", timeout=5).status == 200
        deadline = time.monotonic() + 5
        while threading.active_count() > before + 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert threading.active_count() <= before + 10


def test_names_cannot_add_to_the_page(watch, monkeypatch):
    """Source names are files' names, which may have any character; classes come from whoever made the weights."""
    bad = """"><script>alert(1)</script><img src=x onerror='alert(2)'>"""
    monkeypatch.setattr(watch, "sources", (bad,))
    monkeypatch.setattr(watch, "class_names", (bad,) * len(watch.class_names))
    with serve(watch, "0") as (_, address):
        answer = urlopen(address)
        html = answer.read().decode()
        assert "<script>alert" not in html and "<img src=x" not in html and "&lt;script&gt;alert" in html
        assert "innerHTML" not in html  # names from the state become text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        state = urlopen(f"{address}state")
        assert state.headers["Content-Type"] == "application/json" and json.load(state)["sources"][0]["name"] == bad


def test_several_browsers_are_answered_from_one_computation(watch, monkeypatch):
    view, calls = View(image=np.zeros((4, 4, 3), np.uint8)), []
    monkeypatch.setattr(watch, "view", lambda number: view)
    monkeypatch.setattr("teinet.pages.live.jpeg", lambda *args: calls.append(args) or b"jpeg")
    with serve(watch, "0") as (_, address):
        assert {urlopen(f"{address}image/0?{i}").read() for i in range(5)} == {b"jpeg"}
    assert len(calls) == 1
