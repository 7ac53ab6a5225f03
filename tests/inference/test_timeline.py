"""A long recording: what is found equals separate steps, or separate windows; gaps begin anew."""

from __future__ import annotations

import sys
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

import teinet
from teinet.data.decode import read_clip
from teinet.data.transforms import Preprocessing
from teinet.data.transforms import test_crops as cut_crops
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.inference import timeline
from teinet.inference.events import Events, Rules
from teinet.inference.rows import Row, Span
from teinet.inference.strip import StripMaker
from teinet.inference.table import Table
from teinet.live import Watch
from teinet.models import set_num_frames
from tests import miniatures
from tests.data.test_play import changing, zero_packets
from tests.data.test_play import film as write_film
from tests.models.test_causal import network

T = 4


def make(name: str, *, causal: bool, header: dict | None = None) -> teinet.Recognizer:
    model = set_num_frames(network(name, causal=causal), T).float()
    pixels = Preprocessing(size=32, short_side=32, mean=model.data_config["mean"], std=model.data_config["std"])
    return teinet.Recognizer(model, list("abc"), preprocessing=pixels, header=header or {})


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """61 frames at 10 a second."""
    return miniatures.write(tmp_path_factory.mktemp("film") / "film.mp4", 3, length=61, rate=10)


@pytest.mark.parametrize("name", ["teinet", "tsm", "tsn"])
def test_a_causal_network_gives_what_single_steps_give(film, name):
    recognizer = make(name, causal=True)
    found = timeline(recognizer, film, spacing=0.2, span=3)
    frames = read_clip(film, lambda n: np.arange(0, n, 2))
    stream = recognizer.stream(span=3)
    steps = [stream.step([picture]) for picture in frames.data]
    firsts = np.maximum(np.arange(len(steps)) - 2, 0)
    np.testing.assert_allclose(found.times, (frames.times[firsts] + frames.times) / 2, atol=1e-3)
    np.testing.assert_allclose(found.scores, np.concatenate([step.scores for step in steps]), atol=2e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_a_score_is_known_when_the_last_of_its_frames_comes(film, causal):
    found = timeline(make("teinet", causal=causal), film, spacing=0.2)
    assert found.lag == pytest.approx(0.3) and found.times[-1] + found.lag == pytest.approx(6.0, abs=1e-3)
    if causal:
        assert timeline(make("teinet", causal=True), film, spacing=0.2, span=1).lag == 0


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_averaging_moves_no_event(frames):
    """Frames 20 to 39 are a's; the mean over the last ones crosses one half where half of them are."""
    signal = (np.arange(60) // 20 == 1).astype(float)
    span, events, changes = Span(frames), Events(["a", "b"], Rules(begin=0.5, end=0.5, least=0)), []
    for n in range(60):
        score = signal[max(0, n + 1 - frames) : n + 1].mean()
        changes += events.feed(span.feed(n / 10, n == 0), np.array([score, 0.0]))
    (event,) = [change.event for change in changes if change.what == "end"]
    assert event.start == pytest.approx(2.0, abs=0.06) and event.end == pytest.approx(3.9, abs=0.06)


@pytest.mark.parametrize(
    ("hop", "starts"), [(None, [*range(0, 28, 2), 27]), (1, range(28)), (4, [*range(0, 28, 4), 27])]
)
def test_a_two_sided_network_gives_what_separate_windows_give(film, hop, starts):
    recognizer = make("teinet", causal=False)
    found = timeline(recognizer, film, spacing=0.2, hop=hop)
    frames = read_clip(film, lambda n: np.arange(0, n, 2))
    clip = cut_crops(frames.data, recognizer.preprocessing)[0]
    want = np.stack([recognizer.scores(clip[None, s : s + T]) for s in starts])
    np.testing.assert_allclose(found.scores, want, atol=2e-4)
    middles = [(frames.times[s] + frames.times[s + T - 1]) / 2 for s in starts]
    np.testing.assert_allclose(found.times, middles, atol=1e-3)


def test_compiled_windows_are_always_as_many(film, monkeypatch):
    recognizer = make("teinet", causal=False)
    want = timeline(recognizer, film, spacing=0.2, hop=2)
    assert len(want.times) % 2  # the last window is alone
    sizes = []
    recognizer.model.register_forward_pre_hook(lambda model, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("teinet.inference.rows.is_compiled", lambda model: True)
    found = timeline(recognizer, film, spacing=0.2, hop=2)
    assert set(sizes) == {2}
    np.testing.assert_array_equal(found.times, want.times)
    np.testing.assert_allclose(found.scores, want.scores, atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_a_recording_shorter_than_a_clip_still_has_an_answer(tmp_path, causal):
    path = miniatures.write(tmp_path / "short.mp4", 0, length=3, rate=10)
    found = timeline(make("teinet", causal=causal), path, spacing=0.1)
    assert len(found.times) == (3 if causal else 1) and found.scores.shape[1] == 3


def test_what_the_weights_call_nothing_makes_no_event(film):
    rules = Rules(begin=0.0, end=0.0, least=0.0)
    for nothing, expected in ((["a", "b"], {"c"}), ([], {"a", "b", "c"})):
        recognizer = make("teinet", causal=True, header={"nothing": nothing})
        assert recognizer.nothing == tuple(nothing)
        found = timeline(recognizer, film, spacing=0.2, rules=rules)
        assert found.events and {event.label for event in found.events} <= expected
        (watch,) = Watch(recognizer, [str(film)], spacing=0.2, rules=rules)._cameras
        assert watch.events.rules.nothing == tuple(nothing)
    everything = timeline(recognizer, film, spacing=0.2, rules=Rules(begin=0.0, end=0.0, least=0.0, nothing=()))
    assert everything.events == found.events


def test_events_are_of_the_scores(film):
    recognizer = make("teinet", causal=True)
    found = timeline(recognizer, film, spacing=0.2, rules=Rules(begin=0.4, end=0.2, least=0.2))
    assert found.events and found.to_dict()["events"][0]["label"] in "abc"
    for event in found.events:
        rows = (found.times >= event.start - 1e-6) & (found.times <= event.end + 1e-6)
        own = found.scores[rows, "abc".index(event.label)]
        assert own[0] >= 0.4 - 1e-4 and own.min() >= 0.2 - 1e-4
        assert event.score == pytest.approx(own.mean(), abs=1e-4) and event.end - event.start >= 0.2 - 1e-6


def test_the_spacing_is_that_of_training_unless_said(film):
    recognizer = make("tsn", causal=True, header={"spacing": 0.5})
    assert len(timeline(recognizer, film).times) == 13
    with pytest.raises(ConfigError, match="--every"):
        timeline(make("tsn", causal=True), film)


def test_progress_reaches_the_end(film):
    reached: list[float] = []
    timeline(make("tsn", causal=True), film, spacing=1.0, progress=reached.append)
    assert len(reached) == 61 and reached[-1] == pytest.approx(6.0, abs=1e-3)


def test_what_does_not_fit_is_one_line(film, tmp_path):
    recognizer = make("teinet", causal=False)
    for options, words in [({"hop": 5}, "at most 4"), ({"hop": 0}, "at least 1"), ({"span": 0}, "at least 1")]:
        with pytest.raises(ConfigError, match=words):
            timeline(recognizer, film, spacing=0.2, **options)
    with pytest.raises(ConfigError, match="no class 'd'"):
        timeline(recognizer, film, spacing=0.2, rules=Rules(nothing=("d",)))
    with pytest.raises(VideoError, match="no such file"):
        timeline(recognizer, tmp_path / "absent.mp4", spacing=0.2)


@pytest.mark.parametrize("causal", [True, False])
def test_what_has_no_meaning_for_a_network_is_refused(film, causal):
    recognizer = make("teinet", causal=causal)
    with pytest.raises(ConfigError, match="windows" if causal else "from frame to frame"):
        timeline(recognizer, film, spacing=0.2, **({"hop": 2} if causal else {"span": 1}))
    with pytest.raises(ConfigError, match="from frame to frame"):
        timeline(recognizer, film, spacing=0.2, span=1, windows=True)


@pytest.mark.parametrize("hop", [None, 3])
def test_a_causal_network_can_look_at_windows_too(film, hop):
    recognizer = make("teinet", causal=True)
    found = timeline(recognizer, film, spacing=0.2, hop=hop, windows=True)
    clip = cut_crops(read_clip(film, lambda n: np.arange(0, n, 2)).data, recognizer.preprocessing)[0]
    starts = [*range(0, 28, 2), 27] if hop is None else range(0, 28, 3)
    want = np.stack([recognizer.scores(clip[None, s : s + T]) for s in starts])
    np.testing.assert_allclose(found.scores, want, atol=2e-4)
    assert found.lag == pytest.approx(0.3)
    plain = make("teinet", causal=False)
    assert len(timeline(plain, film, spacing=0.2, windows=True).times) == 15


def test_what_is_wrong_with_a_recording_is_counted_and_said(tmp_path):
    """Another size after 2 s begins anew; a file of 4 s with 60 % of its bytes ends early; two packets are zeros."""
    recognizer = make("teinet", causal=True)
    sizes = changing(tmp_path / "sizes.ts")
    found = timeline(recognizer, sizes, spacing=0.1, strip=True)
    assert found.trouble == "1 restart at changes of the picture's size" and found.to_dict()["resizes"] == 1
    assert np.flatnonzero(found.begins).tolist() == [0, 20] and found.strip.pictures.shape[1:] == (32, 32, 3)
    alone = timeline(recognizer, changing(tmp_path / "second.ts", ((48, 64),)), spacing=0.1)
    np.testing.assert_allclose(found.scores[20:], alone.scores, atol=1e-3)  # as if nothing had been before

    cut = tmp_path / "cut.mp4"
    with av.open(str(cut), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "10"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for picture in np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    assert timeline(recognizer, cut, spacing=0.1).trouble == ""
    cut.write_bytes(cut.read_bytes()[: int(0.6 * cut.stat().st_size)])
    found = timeline(recognizer, cut, spacing=0.1)
    assert 2.0 < found.end < 2.8 and found.stated == pytest.approx(4.0, abs=0.01)
    assert found.trouble.endswith(f"ends at {found.end:.1f} s of 4.0 s: cut off?")

    broken = write_film(tmp_path / "broken.avi", "mjpeg", {}, pixels="yuvj420p")
    zero_packets(broken, (10, 40))
    want = timeline(recognizer, broken, spacing=0.1)
    assert want.broken == 2 and want.trouble == "2 packets could not be decoded whole"
    found = interrupted(recognizer, broken, [2.0, 4.5], tmp_path / "partial", spacing=0.1)
    assert found.broken == 2 and found.end == want.end


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


def interrupted(recognizer, path, at: list[float], partial, **options):
    """A timeline that is stopped at some seconds, each time by another call, and then goes on to the end."""
    for second in at:
        stop = threading.Event()
        with pytest.raises(Interrupted, match="stopped at"):
            timeline(
                recognizer,
                path,
                partial=partial,
                stop=stop,
                progress=lambda now, second=second, stop=stop: stop.set() if now >= second else None,
                **options,
            )
    return timeline(recognizer, path, partial=partial, **options)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.webm"])
def test_an_interrupted_look_goes_on_to_the_same_end(tmp_path, monkeypatch, name, causal):
    path = miniatures.write(tmp_path / name, 3, length=61, rate=10)
    recognizer = make("teinet", causal=causal)
    options = {"spacing": 0.1, "rules": Rules(begin=0.4, end=0.2, least=0.2), "strip": True}
    want = timeline(recognizer, path, **options)
    looked: list[int] = []
    module = sys.modules["teinet.inference.timeline"]
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


def test_frames_far_apart_are_no_gaps_when_they_are_asked_for(tmp_path):
    """Ten frames, 2.5 s apart, as a time-lapse camera gives them."""
    path = tmp_path / "lapse.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(2, 5))
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for picture in miniatures.frames(4, 10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode())
    recognizer = make("teinet", causal=True)
    assert timeline(recognizer, path, spacing=2.5).restarts == 0
    assert timeline(recognizer, path, spacing=0.2).restarts == 9


def test_what_belongs_to_something_else_is_not_used(film, tmp_path):
    recognizer, partial = make("teinet", causal=True), tmp_path / "partial"
    first = timeline(recognizer, film, spacing=0.2, partial=partial)
    seen: list[float] = []
    for other, options in [
        (recognizer, {"spacing": 0.3}),
        (recognizer, {"spacing": 0.3, "span": 2}),
        (make("tsn", causal=True), {"spacing": 0.3, "span": 2}),
    ]:
        seen.clear()
        timeline(other, film, partial=partial, progress=seen.append, **options)
        assert len(seen) == 61
    partial.write_bytes(partial.read_bytes()[:100])  # cut off
    assert timeline(recognizer, film, spacing=0.2, partial=partial).events == first.events
    seen.clear()
    other = timeline(recognizer, film, spacing=0.2, partial=partial, rules=Rules(nothing=("a",)), progress=seen.append)
    assert not seen and all(event.label != "a" for event in other.events)  # rules are asked of the scores alone


def test_rows_are_kept_once():
    """A row of 5 scores is 5 x 4 + 8 + 1 bytes; half as many again are in reserve, and what is read is no copy."""
    scores = np.random.default_rng(0).random((3000, 5))
    rows = [Row(0.1 * n, row, n % 700 == 0) for n, row in enumerate(scores)]
    table = Table(5)
    table.add(rows[:2000])
    table = Table(5, [table.times, table.scores, table.begins])
    table.add(rows[2000:])
    np.testing.assert_array_equal(table.scores, scores.astype(np.float32))
    np.testing.assert_array_equal(table.times, 0.1 * np.arange(3000))
    assert np.flatnonzero(table.begins).tolist() == [0, 700, 1400, 2100, 2800]
    assert sum(array.base.nbytes for array in (table.times, table.scores, table.begins)) <= 1.5 * 3000 * 29
    assert all(np.shares_memory(getattr(table, name), getattr(table, name)) for name in ("times", "scores", "begins"))


def test_a_strip_is_bounded_and_even(tmp_path):
    for count in (1, 40, 49, 400, 3000):
        maker = StripMaker()
        for number in range(count):
            maker.feed(0.1 * number, np.full((60, 200, 3), number % 256, np.uint8))
        strip = maker.strip
        apart = np.diff(strip.seconds)
        assert min(count, 24) <= len(strip.seconds) <= 48 and strip.pictures.shape[1:] == (58, 192, 3)
        assert count < 50 or apart.max() < 1.3 * apart.min()
        assert 0.1 * (count - 1) - strip.seconds[-1] <= (apart.max() if count > 1 else 0)
        np.testing.assert_array_equal(strip.pictures[:, 0, 0, 0], np.round(strip.seconds * 10).astype(int) % 256)
        assert strip.nearest(0.0)[0, 0, 0] == 0
