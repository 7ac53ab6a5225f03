"""The page in a real browser: the same answers as Python, from files and a webcam, and nothing from elsewhere."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

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

READY = "globalThis.teinet && document.documentElement.dataset.state === 'ready'"
CLIPS = 40


@pytest.fixture(scope="session")
def chromium() -> str:
    if (found := find_chromium()) is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> list[Path]:
    """Drawn clips that no pretrained model was trained on, of all classes."""
    folder = draw(tmp_path_factory.mktemp("browser") / "clips", MotionPairs(train=0, val=0, test=2, seed=77))
    return sorted((folder / "test").rglob("*.mp4"))[:CLIPS]


@pytest.fixture(params=["motion_pairs", "motion_pairs_causal"])
def opened(request, pages, chromium):
    """A recognizer, and its page in a browser."""
    with serving(pages(request.param)) as (address, _), Browser(chromium) as browser:
        browser.open(address)
        browser.until(READY, 120)
        yield Recognizer.load(request.param, device="cpu"), browser


def test_clips_get_the_same_answers_as_in_python(opened, drawn):
    recognizer, browser = opened
    found = summary(compare(browser, recognizer, drawn))
    assert found["errors"] == [] and found["clips"] == found["same_frames"] == CLIPS
    assert found["same_top1"] >= 0.99 * CLIPS and found["largest_difference"] <= 0.02, found
    assert browser.evaluate("document.getElementById('label').textContent")
    assert browser.evaluate("document.querySelectorAll('.frames button').length") == 8
    assert browser.messages == []


def test_a_playing_file_gets_scores_at_the_frame_interval(opened, drawn):
    recognizer, browser = opened
    recognized(browser, drawn[0])
    browser.evaluate("document.getElementById('video').play()")
    browser.until("document.getElementById('video').ended", 30)
    live = browser.until("teinet.live.length && teinet.live")
    assert all(abs(sum(row["scores"]) - 1) < 1e-4 for row in live)
    times = np.array([row["time"] for row in live])
    assert np.all(np.diff(times) > 0) and np.all(np.diff(times) < 0.8) and times[-1] > 1.5


def test_a_page_says_in_words_what_went_wrong(pages, chromium, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    with serving(pages("motion_pairs")) as (address, _), Browser(chromium) as browser:
        browser.open(address)
        browser.until(READY, 120)
        assert "broken.mp4: this browser cannot decode it. " in recognized(browser, tmp_path / "broken.mp4")["error"]
        browser.evaluate("document.getElementById('camera').click()")
        assert "webcam" in browser.until("document.getElementById('problem').textContent.includes('webcam') && "
                                         "document.getElementById('problem').textContent")  # fmt: skip
        assert "WebGPU" in browser.until("document.querySelector('[value=webgpu]').disabled && "
                                         "document.querySelector('[value=webgpu]').textContent")  # fmt: skip


@pytest.mark.parametrize("headers", [{}, ISOLATION], ids=["plain", "isolated"])
def test_nothing_comes_from_elsewhere_with_and_without_threads(pages, chromium, drawn, headers):
    with serving(pages("motion_pairs"), headers) as (address, asked), Browser(chromium) as browser:
        browser.open(address)
        browser.until(READY, 120)
        assert browser.evaluate("crossOriginIsolated") is bool(headers)
        assert len(recognized(browser, drawn[0])["scores"]) == 24
        elsewhere = [each for each in browser.addresses if not each.startswith((address, f"blob:{address}", "data:"))]
        assert elsewhere == [] and len(browser.addresses) > 10
        assert not [path for path in asked if "webgpu" in path or "asyncify" in path]


@pytest.mark.parametrize("weights", ["motion_pairs", "motion_pairs_causal"])
def test_a_webcam_shows_the_action_before_it(pages, chromium, tmp_path, weights):
    """Chromium plays the file as its camera, again and again."""
    film = filmed(tmp_path / "camera.y4m", "moving left")
    words = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={film}")
    with serving(pages(weights)) as (address, _), Browser(chromium, *words) as browser:
        browser.open(address)
        browser.until(READY, 120)
        browser.evaluate("document.getElementById('camera').click()")
        browser.until("teinet.live.length > 24", 60)
        live = browser.evaluate("teinet.live")
        names = Recognizer.load(weights, device="cpu").class_names
        assert names[np.mean([row["scores"] for row in live], 0).argmax()] == "moving left"
        assert browser.evaluate("document.querySelectorAll('.frames button').length") == 8
        browser.evaluate("document.getElementById('camera').click()")
        assert browser.evaluate("document.getElementById('video').hidden")


def filmed(path: Path, label: str) -> Path:
    """Write a drawn clip of a class as an uncompressed film."""
    import av

    folder = draw(path.parent / "one", MotionPairs(train=0, val=0, test=1, seed=5))
    reader = VideoReader(next((folder / "test" / label).glob("*.mp4")))
    with av.open(str(path), "w", format="yuv4mpegpipe") as out:
        stream = out.add_stream("wrapped_avframe", 12)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for frame in reader:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def scripts(pages, chromium, tmp_path_factory):
    """A page whose modules a test calls, and its folder."""
    folder = pages("motion_pairs")
    with serving(folder) as (address, _), Browser(chromium) as browser:
        browser.open(address)
        browser.until(READY, 120)
        yield browser, folder


def test_the_sampling_is_that_of_python(scripts):
    browser, _ = scripts
    kinds = [
        Sampling(num_frames=8), Sampling(num_frames=5), Sampling(num_frames=25, adjacent=5),
        Sampling(num_frames=8, strategy="dense"), Sampling(num_frames=16, strategy="dense", window=20),
    ]  # fmt: skip
    lengths = [*range(1, 130), 1000, 12345]
    for kind in kinds:
        settings = json.dumps(kind.__dict__)
        script = f"import('./sampling.js').then(m => {lengths}.map(n => m.testIndices(n, {settings})))"
        assert browser.evaluate(script) == [kind.test(n)[0].tolist() for n in lengths], kind


def test_the_frames_of_a_stream_are_those_of_python(scripts):
    browser, _ = scripts
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.11, 0.3, 2.5, -1.0], 500, p=[0.3, 0.3, 0.2, 0.16, 0.02, 0.02])).tolist()
    sampler = FrameSampler(0.25)
    script = f"import('./sampling.js').then(m => {{ const s = new m.FrameSampler(0.25); return {times}.map(t => s.judge(t)); }})"
    assert browser.evaluate(script) == [sampler.judge(time) for time in times]


def test_an_mp4_has_its_frames_where_python_finds_them(scripts, tmp_path):
    """Uneven times, frames out of order and an edit list: what cameras and encoders write."""
    import av

    browser, folder = scripts
    noise = np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), dtype=np.uint8)
    with VideoWriter(folder / "uneven.mp4", 10, time_base=Fraction(1, 1000)) as writer:
        for image, time in zip(noise, (0, 40, 80, 200, 210, 450, 470, 700, 1000)):
            writer.write(image, ticks=time)
    with av.open(str(folder / "ordered.mp4"), "w") as out:
        stream = out.add_stream("h264", 25, options={"bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in [*noise, *noise]:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    for name in ("uneven.mp4", "ordered.mp4"):
        script = f"Promise.all([import('./frame_times.js'), fetch('{name}').then(a => a.blob())]).then(([m, f]) => m.readTables(f).then(t => t.times))"
        *starts, end = browser.evaluate(script)
        reader = VideoReader(folder / name)
        assert starts == pytest.approx(reader.times.tolist(), abs=1e-3) and end == pytest.approx(reader.end_time, abs=1e-3)
