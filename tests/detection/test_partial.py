"""A long look that was interrupted goes on where it was, to the same end; what is kept is neither mistaken nor lost."""

from __future__ import annotations

import errno
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from teinet.data.transforms import test_crops as cut_crops
from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.errors import ConfigError, Interrupted
from tests import miniatures
from tests.data.video.test_play import film as write_film
from tests.detection.test_timeline import film, interrupted, make  # noqa: F401


@pytest.mark.parametrize("name", ["film.avi", "film.ts"])
def test_the_way_back_shows_progress_and_can_be_stopped(tmp_path, name):
    """These files cannot be entered in the middle: going on decodes all that is known once more."""
    path = write_film(tmp_path / name, "mpeg4" if name == "film.avi" else "libx264", {"bf": "0"})
    recognizer, partial, stop = make("teinet", causal=True), tmp_path / "partial", threading.Event()
    options = {"spacing": 0.1, "partial": partial, "stop": stop}
    with pytest.raises(Interrupted):
        timeline(recognizer, path, progress=lambda second: stop.set() if second >= 4 else None, **options)
    kept = partial.read_bytes()
    reached: list[float] = []

    def progress(second: float) -> None:
        reached.append(second)
        if second >= 1:
            stop.set()

    stop.clear()
    with pytest.raises(Interrupted, match=r"on the way back to 4\.0 s"):
        timeline(recognizer, path, progress=progress, **options)
    assert reached == pytest.approx(np.arange(11) / 10, abs=1e-3)
    assert partial.read_bytes() == kept  # nothing is lost


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.webm"])
def test_an_interrupted_look_goes_on_to_the_same_end(tmp_path, monkeypatch, name, causal):
    path = miniatures.write(tmp_path / name, 3, length=61, rate=10)
    recognizer = make("teinet", causal=causal)
    options = {"spacing": 0.1, "rules": Rules(begin=0.4, end=0.2, least=0.2), "strip": True}
    want = timeline(recognizer, path, **options)
    looked: list[int] = []
    module = sys.modules["teinet.detection.timeline"]
    monkeypatch.setattr(module, "test_crops", lambda *a: looked.append(1) or cut_crops(*a))
    found = interrupted(recognizer, path, [0.0, 0.9, 3.2, 3.3, 5.9], tmp_path / "new" / "partial", **options)
    assert len(looked) == 61  # no frame twice
    np.testing.assert_array_equal(found.times, want.times)
    np.testing.assert_array_equal(found.scores, want.scores)
    assert found.events == want.events and want.events and found.until == want.until
    np.testing.assert_array_equal(found.strip.pictures, want.strip.pictures)
    again: list[float] = []
    done = timeline(recognizer, path, partial=tmp_path / "new" / "partial", progress=again.append, **options)
    assert not again and done.events == want.events


@pytest.mark.parametrize("causal", [True, False])
def test_gaps_and_waiting_frames_survive_an_interruption(tmp_path, causal):
    path = tmp_path / "gaps.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"g": "8", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for number, picture in enumerate(miniatures.frames(4, 41)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = number + 50 * (number > 12) + 50 * (number > 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    recognizer = make("teinet", causal=causal)
    want = timeline(recognizer, path, spacing=0.1)
    assert want.restarts == 2
    for second in (1.0, 1.2, 6.3, 7.0):
        found = interrupted(recognizer, path, [second], tmp_path / f"{second}", spacing=0.1)
        np.testing.assert_array_equal(found.scores, want.scores)
        np.testing.assert_array_equal(found.times, want.times)
        assert found.restarts == 2


def test_what_belongs_to_something_else_is_neither_used_nor_lost(film, tmp_path):  # noqa: F811
    recognizer, partial = make("teinet", causal=True), tmp_path / "partial"
    first = timeline(recognizer, film, spacing=0.2, partial=partial)
    kept = partial.read_bytes()
    for other, options, words in [
        (recognizer, {"spacing": 0.3}, "spacing 0.2, not 0.3: say"),
        (recognizer, {"spacing": 0.3, "span": 1}, "spacing 0.2, not 0.3; span 4, not 1"),
        (recognizer, {"spacing": 0.2, "strip": True}, "pictures off, not on"),
        (make("tsn", causal=True), {"spacing": 0.2}, "with another recogniser or --optimize: say .*--anew"),
    ]:
        with pytest.raises(ConfigError, match=words):
            timeline(other, film, partial=partial, **options)
        assert partial.read_bytes() == kept
    folded = recognizer.optimize(engine="folded")
    timeline(folded, film, spacing=0.2, partial=tmp_path / "folded")
    folded.model.optimization = replace(folded.model.optimization, precision="other")  # the same tensors
    with pytest.raises(ConfigError, match="another recogniser or --optimize"):
        timeline(folded, film, spacing=0.2, partial=tmp_path / "folded")
    seen: list[float] = []
    again = miniatures.write(tmp_path / "other.mp4", 4, length=31, rate=10)
    timeline(recognizer, again, spacing=0.2, partial=partial, progress=seen.append)  # the video has changed
    assert len(seen) == 31
    partial.write_bytes(partial.read_bytes()[:100])  # cut off
    assert timeline(recognizer, film, spacing=0.2, partial=partial).events == first.events
    seen.clear()
    other = timeline(recognizer, film, spacing=0.2, partial=partial, rules=Rules(nothing=("a",)), progress=seen.append)
    assert not seen and all(event.label != "a" for event in other.events)  # rules are asked of the scores alone


def test_what_cannot_be_written_is_an_error_of_the_system(film, tmp_path, monkeypatch):  # noqa: F811
    """As a full disk gives, which a command says in one line."""
    recognizer = make("teinet", causal=True)
    with pytest.raises(FileNotFoundError, match=r"state\.safetensors"):
        recognizer.stream().state.save(tmp_path / "nowhere" / "state.safetensors")
    real = Path.write_bytes

    def full(path, data):
        real(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(tmp_path))}/partial'"):
        timeline(recognizer, film, spacing=0.2, partial=tmp_path / "partial")
    assert not list(tmp_path.iterdir())
