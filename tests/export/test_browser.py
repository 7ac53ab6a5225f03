"""The page in a real browser: the same answers as Python, from files and a webcam, and nothing from elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from benchmarks.browser import compare, recognized, summary
from benchmarks.chromium import ISOLATION, Browser, find_chromium, serving
from teinet import Recognizer
from teinet.data.motion_pairs import MotionPairs, draw
from teinet.data.sampling import Sampling
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import VideoWriter
from teinet.detection.sampler import FrameSampler
from tests.export.conftest import fits_a_phone

READY = "globalThis.teinet && document.documentElement.dataset.state === 'ready'"
PROBLEM = "document.documentElement.dataset.state === 'problem' && document.getElementById('problem').textContent"
CLIPS, REAL = 12, 28  # real ones take half a second each
SOFTWARE = os.environ.get("TEINET_TEST_WEBGPU") == "software"  # let Chromium be the GPU: 10 to 30 s
FILMED = "moving left"


class Opened(NamedTuple):
    """A page in a browser: its folder, its server's address, the paths it was asked for, and the model in Python."""

    browser: Browser
    folder: Path
    address: str
    asked: list[str]
    recognizer: Recognizer


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[Path]:
    """Drawn clips that no pretrained model was trained on, of as many classes."""
    folder = draw(tmp_path_factory.mktemp("browser") / "clips", MotionPairs(train=0, val=0, test=1, seed=5))
    return sorted((folder / "test").rglob("*.mp4"))


@pytest.fixture(scope="module")
def camera(drawn, tmp_path_factory) -> Path:
    """A drawn clip as an uncompressed film, which Chromium plays as its camera again and again."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe") as out:
        stream = out.add_stream("wrapped_avframe", 12)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for frame in VideoReader(next(clip for clip in drawn if clip.parent.name == FILMED)):
            image = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
            out.mux(stream.encode(image.reformat(format="yuv420p")))
        out.mux(stream.encode())
    return path


def opened(page: tuple[Path, Recognizer], headers: dict[str, str], camera: Path) -> Iterator[Opened]:
    if (program := find_chromium()) is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    words = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with (
        serving(page[0], headers) as (address, asked),
        Browser(program, *words, f"--use-file-for-fake-video-capture={camera}") as browser,
    ):
        browser.open(address)
        browser.until(READY, 120)
        yield Opened(browser, page[0], address, asked, page[1])


def choose_backend(browser: Browser, name: str) -> None:
    change = f"b.value = '{name}'; b.dispatchEvent(new Event('change'))"
    browser.evaluate(f"(b => {{ {change} }})(document.getElementById('backend'))")


@pytest.fixture(scope="module")
def causal(causal_page, camera) -> Iterator[Opened]:
    """The page of a causal network, served with the headers for threads."""
    yield from opened(causal_page, ISOLATION, camera)


@pytest.fixture(scope="module")
def bidirectional(bidirectional_page, camera) -> Iterator[Opened]:
    """The page of a small bidirectional network, which resizes and crops, served without headers."""
    yield from opened(bidirectional_page, {}, camera)


def test_clips_get_the_same_answers_as_in_python(causal, drawn):
    chosen = drawn[:: len(drawn) // CLIPS][:CLIPS]
    found = summary(compare(causal.browser, causal.recognizer, chosen))
    assert found["errors"] == [] and found["clips"] == found["same_frames"] == CLIPS
    assert found["same_top1"] == CLIPS and found["largest_difference"] < 1e-4, found
    assert causal.browser.evaluate("document.querySelectorAll('.frames button').length") == 8
    assert causal.browser.evaluate("crossOriginIsolated") and causal.browser.messages == []


def test_real_clips_get_the_same_answers_as_in_python(causal, shared):
    """The smallest ones: 320x240 to 640x360, other colors and rates."""
    clips = sorted((shared / "data" / "fights").rglob("*.mp4"), key=lambda clip: (clip.stat().st_size, clip))[:REAL]
    found = summary(compare(causal.browser, causal.recognizer, clips))
    assert found["errors"] == [] and found["clips"] == found["same_frames"] == found["same_top1"] == REAL
    assert found["largest_difference"] < 0.005, found


def test_frames_of_another_size_are_resized_and_cropped_as_in_python(bidirectional, clips):
    found = summary(compare(bidirectional.browser, bidirectional.recognizer, sorted(clips.rglob("0.mp4"))))
    assert found["errors"] == [] and found["clips"] == found["same_frames"] == 3
    assert found["largest_difference"] < 0.02, found
    assert not bidirectional.browser.evaluate("crossOriginIsolated") and bidirectional.browser.messages == []


@pytest.mark.parametrize("page", ["causal", "bidirectional"])
def test_nothing_comes_from_elsewhere(request, drawn, page):
    page = request.getfixturevalue(page)
    recognized(page.browser, drawn[0])
    own = (page.address, f"blob:{page.address}", "data:")
    assert [address for address in page.browser.addresses if not address.startswith(own)] == []
    assert len(page.asked) > 12 and not [path for path in page.asked if "webgpu" in path or "asyncify" in path]


def test_a_playing_file_is_scored_at_the_frame_interval(causal, drawn):
    page = causal.browser
    page.evaluate("document.getElementById('video').pause()")
    recognized(page, drawn[0])
    page.until("document.getElementById('video').ended && teinet.live.length > 5", 60)
    live = page.evaluate("teinet.live")
    assert all(sum(row["scores"]) == pytest.approx(1, abs=1e-4) for row in live)
    gaps = np.diff([row["time"] for row in live])
    assert np.all(gaps > 0) and np.median(gaps) == pytest.approx(0.25, abs=0.05)
    assert page.evaluate("document.querySelectorAll('.plot path').length") > 0


def test_a_webcam_shows_the_action_before_it(causal):
    page = causal.browser
    page.evaluate("document.getElementById('camera').click()")
    page.until("document.documentElement.dataset.state === 'live'")
    live = page.until("teinet.live.length > 16 && teinet.live", 60)
    mean = np.mean([row["scores"] for row in live], 0)
    assert causal.recognizer.class_names[mean.argmax()] == FILMED
    assert page.evaluate("document.querySelectorAll('.frames button').length") == 8
    page.evaluate("document.getElementById('camera').click()")
    assert page.evaluate("document.getElementById('video').hidden && !document.getElementById('video').srcObject")


def test_a_bidirectional_network_scores_the_last_frames_of_a_webcam(bidirectional):
    page = bidirectional.browser
    page.evaluate("document.getElementById('camera').click()")
    live = page.until("document.documentElement.dataset.state === 'live' && teinet.live.length > 3 && teinet.live", 60)
    assert all(sum(row["scores"]) == pytest.approx(1, abs=1e-4) for row in live)
    assert page.evaluate("document.querySelectorAll('.row').length") == 3
    page.evaluate("document.getElementById('camera').click()")


def test_the_page_says_in_words_what_went_wrong(bidirectional, tmp_path):
    page = bidirectional.browser
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    assert "broken.mp4: this browser cannot decode it. If" in recognized(page, tmp_path / "broken.mp4")["error"]
    page.evaluate(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')); "
        "document.getElementById('camera').click()"
    )
    page.until("document.getElementById('problem').textContent === 'The webcam cannot be used: there is none.'")
    gpu = "document.querySelector('[value=webgpu]')"
    assert "WebGPU" in page.until(f"{gpu}.disabled && {gpu}.textContent")
    choose_backend(page, "webgpu")
    assert "; the CPU does." in page.until(PROBLEM, 120)
    assert page.evaluate("document.getElementById('backend').value") == "wasm"


def test_a_phone_shows_it_whole(bidirectional, drawn):
    fits_a_phone(bidirectional.browser, "#drop", ".button.main", "#camera", "#backend", "#title", "#answer")
    recognized(bidirectional.browser, drawn[0])
    fits_a_phone(bidirectional.browser, "#video", ".button.main", "#camera", "#backend", "#film", ".plot", "#label")


def test_the_gpu_gives_the_answers_of_the_cpu(bidirectional_page, drawn):
    if (program := find_chromium()) is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    words = ["--use-webgpu-adapter=swiftshader"] if SOFTWARE else []
    with serving(bidirectional_page[0]) as (address, _), Browser(program, *words, gpu=True) as browser:
        browser.open(address)
        found = browser.evaluate("navigator.gpu?.requestAdapter().then(found => found?.info.architecture)")
        if not found or (found == "swiftshader" and not SOFTWARE):
            pytest.skip("no GPU that Chromium offers (TEINET_TEST_WEBGPU=software takes its own in software)")
        browser.until(READY, 120)
        wanted = recognized(browser, drawn[0])
        browser.evaluate("teinet.result = null")
        choose_backend(browser, "webgpu")
        got = browser.until(f"{PROBLEM} || teinet.result", 120)
        assert isinstance(got, dict) and (wanted["backend"], got["backend"]) == ("wasm", "webgpu"), got
        assert got["scores"] == pytest.approx(wanted["scores"], abs=1e-3)


def test_the_sampling_is_that_of_python(causal):
    kinds = [
        Sampling(num_frames=8), Sampling(num_frames=5), Sampling(num_frames=25, adjacent=5),
        Sampling(num_frames=8, strategy="dense"), Sampling(num_frames=16, strategy="dense", window=20),
    ]  # fmt: skip
    lengths = [*range(1, 130), 1000, 12345]
    for kind in kinds:
        call = f"m.testIndices(n, {json.dumps(kind.__dict__)})"
        found = causal.browser.evaluate(f"import('./sampling.js').then(m => {lengths}.map(n => {call}))")
        assert found == [kind.test(n)[0].tolist() for n in lengths], kind


def test_the_frames_of_a_stream_are_those_of_python(causal):
    rng = np.random.default_rng(0)
    gaps = rng.choice([0.02, 0.04, 0.11, 0.3, 2.5, -1.0], 500, p=[0.3, 0.3, 0.2, 0.16, 0.02, 0.02])
    times, sampler = np.cumsum(gaps).tolist(), FrameSampler(0.25)
    judged = f"((s) => {times}.map(t => s.judge(t)))(new m.FrameSampler(0.25))"
    assert causal.browser.evaluate(f"import('./sampling.js').then(m => {judged})") == [sampler.judge(t) for t in times]


def test_an_mp4_has_its_frames_where_python_finds_them(causal):
    """Uneven times; frames that are stored out of order, with an edit list."""
    noise = np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), dtype=np.uint8)
    with VideoWriter(causal.folder / "uneven.mp4", 10, time_base=Fraction(1, 1000)) as writer:
        for image, time in zip(noise, (0, 40, 80, 200, 210, 450, 470, 700, 1000), strict=True):
            writer.write(image, ticks=time)
    with av.open(str(causal.folder / "ordered.mp4"), "w") as out:
        stream = out.add_stream("h264", 25, options={"bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in [*noise, *noise]:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    for name in ("uneven.mp4", "ordered.mp4"):
        read = f"fetch('{name}').then(answer => answer.blob()).then(m.readTables).then(found => found.times)"
        *starts, end = causal.browser.evaluate(f"import('./frame_times.js').then(m => {read})")
        reader = VideoReader(causal.folder / name)
        assert starts == pytest.approx(reader.times.tolist(), abs=1e-3)
        assert end == pytest.approx(reader.end_time, abs=1e-3)
