"""Recordings and streams at an address: a connection that breaks, a beginning that comes all at once."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from teinet.data.video.source import Source
from tests import miniatures
from tests.detection.sources import read, said, shots


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server's address, which answers each request so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("resumes", [True, False])
def test_a_recording_whose_connection_breaks_is_read_on_or_broke_off(tmp_path, resumes):
    """A server closes the first connection after half of the file; one that knows ranges gives the rest when asked."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    start = {"movflags": "faststart"}
    data = miniatures.encode(tmp_path / "film.mp4", noise, "mpeg4", container=start).read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        begin = int(request.headers["Range"].removeprefix("bytes=").rstrip("-")) if resumes else 0
        request.send_response(206 if resumes else 200)
        if resumes:
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - begin))
        request.end_headers()
        request.wfile.write(data[begin:] if begin else data[: len(data) // 2])

    with served(answer) as address:
        items, reader = read(Source.parse(f"{address}/film.mp4"), fast=True)
    if resumes:
        assert said(items) == ["connected", "finished"]
        assert len(shots(items)) + reader.counts.broken == 50 and shots(items)[-1].time == pytest.approx(4.9, abs=1e-3)
    else:
        assert said(items) == ["connected", "lost"]
        assert "connection lost" in str(reader.error)


def test_what_a_stream_begins_with_is_seen(tmp_path):
    """FFmpeg looks at the first packets to find out what comes; they are a recording's beginning, with its keyframe."""
    path = miniatures.write(tmp_path / "film.ts", 3, length=60, rate=10)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(path.read_bytes())

    with served(answer) as address:
        items, reader = read(Source.parse(f"{address}/film.ts"), until=lambda items: len(shots(items)) == 55)
    # they all came at once, and are shown at their own times
    assert np.diff([shot.time for shot in shots(items)]) == pytest.approx(0.1, abs=1e-3)
    assert 4.5 < reader.given[-1] - reader.given[0] < 7


def test_images_without_times_take_those_of_their_arrival():
    """A camera that sends JPEG after JPEG, ten a second, where FFmpeg counts 25."""
    jpeg = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(jpeg, "JPEG")
    head = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg.getvalue())

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
        request.end_headers()
        with suppress(OSError):
            for _ in range(60):
                request.wfile.write(head + jpeg.getvalue() + b"\r\n")
                time.sleep(0.1)

    with served(answer) as address:
        items, _ = read(Source.parse(address), until=lambda items: len(shots(items)) == 15, frame_interval=0.01)
    found = shots(items)
    behind = np.array([shot.arrived for shot in found]) - [shot.time for shot in found]
    assert np.ptp(behind[5:]) < 0.05 < 0.5 < found[-1].time - found[5].time
