"""The page of a server in a real browser: the server's own answers, a token, several models, the webcam, a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import av
import numpy as np
import pytest
import uvicorn

from benchmarks.browser import compare, recognized, summary
from benchmarks.chromium import Browser, find_chromium
from teinet.data.video.reader import VideoReader
from teinet.serving import Limits, ServedModel, create_app
from tests.export.conftest import fits_a_phone

STATE = "document.documentElement.dataset.state"


@pytest.fixture(scope="module")
def page(recognizer) -> Iterator[Browser]:
    """The page of two models behind a token, which is not typed yet."""
    if (program := find_chromium()) is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    models = {"net": ServedModel(recognizer), "other": ServedModel(recognizer)}
    app = create_app(models, limits=Limits(upload_mb=0.5), token="s3cret", workers=1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    words = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    try:
        with Browser(program, *words) as browser:
            while not server.started:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            browser.open(f"http://127.0.0.1:{port}/")
            browser.until("document.getElementById('token')?.hidden === false")
            yield browser
    finally:
        server.should_exit = True
        thread.join(10)


def change(page: Browser, name: str, value: str) -> None:
    """Give a field of the page a value, as a user does."""
    page.evaluate(
        f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event('change')); }})(document.getElementById('{name}'))"
    )


def test_the_page_asks_for_the_token(page):
    status = "document.getElementById('status').textContent"
    assert page.evaluate(status) == "Type the token of this server."
    change(page, "token", "wrong")
    page.until(f"{status} === 'This is not the token of this server.'")
    change(page, "token", "s3cret")
    page.until(f"{STATE} === 'ready' && document.querySelectorAll('#classes li').length === 3")


def test_a_file_gets_the_answer_of_the_recognizer(page, recognizer, videos):
    found = summary(compare(page, recognizer, [videos / f"{kind}.mp4" for kind in range(3)]))
    assert found["errors"] == [] and found["same_frames"] == 3 and found["largest_difference"] < 1e-5, found
    assert page.evaluate("document.querySelectorAll('.frames button').length") == recognizer.num_frames
    change(page, "backend", "other")
    page.until(f"{STATE} === 'done' && teinet.result.backend === 'other'")
    change(page, "backend", "net")


def test_a_file_that_only_the_server_reads_is_answered_too(page, recognizer, videos, tmp_path):
    with av.open(str(tmp_path / "0.avi"), "w") as out:
        stream = out.add_stream("mpeg4", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in VideoReader(videos / "0.mp4"):
            image = av.VideoFrame.from_ndarray(np.asarray(frame.image), format="rgb24")
            out.mux(stream.encode(image.reformat(64, 48, "yuv420p")))
        out.mux(stream.encode())
    answer = recognized(page, tmp_path / "0.avi")
    assert answer["scores"] == pytest.approx(recognizer(tmp_path / "0.avi").scores.tolist(), abs=1e-5)
    assert "cannot show" in page.evaluate("document.getElementById('took').textContent")
    (tmp_path / "large.mp4").write_bytes(bytes(600_000))
    assert "it has 0.6 MB; this server takes 0.5 MB" in recognized(page, tmp_path / "large.mp4")["error"]


def test_a_playing_file_and_a_webcam_are_scored(page, recognizer, videos):
    """JPEGs of all frames of a window: scores near those of the frames themselves."""
    recognized(page, videos / "film.mp4")
    page.evaluate("document.getElementById('video').playbackRate = 2")
    live = page.until("teinet.live.length > 3 && teinet.live")
    assert page.evaluate("document.querySelectorAll('.plot path').length") > 0
    reader = VideoReader(videos / "film.mp4")
    last = int(np.abs(reader.times - live[0]["time"]).argmin())
    frames = reader.frames_at([last - 2 * k for k in range(recognizer.num_frames)][::-1]).images  # 10 a second
    assert live[0]["scores"] == pytest.approx(recognizer(frames).scores.tolist(), abs=0.05)
    page.evaluate("document.getElementById('camera').click()")
    page.until(f"{STATE} === 'live' && teinet.live.length > 2")
    assert recognized(page, videos / "0.mp4")["num_frames"] == 21  # the webcam ends


def test_a_phone_shows_it_whole(page, videos):
    recognized(page, videos / "0.mp4")
    fits_a_phone(page, "#video", ".button.main", "#camera", "#token", "#backend", "#film", ".plot", "#label")
    assert page.messages == []
