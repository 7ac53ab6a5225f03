"""The local page: what it answers, to whom."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from teinet.detection import Watch
from teinet.detection.events import Rules
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
